"""Templates of the service files, installed as hypura_service_files."""

"""What the daemon knows of models: their files, headers, tensors, names, and the list of them."""

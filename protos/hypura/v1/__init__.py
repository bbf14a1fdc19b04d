"""Generated gRPC stubs of protos/hypura/v1; `make protos` rebuilds them byte for byte."""

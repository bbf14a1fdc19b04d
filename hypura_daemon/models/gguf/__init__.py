"""A model as its GGUF files describe it: headers, tensors and hyperparameters."""

"""The recipe of the demo model: its data, its training, its export and its exam.

generate ──► train (PyTorch) ──► weights.NN.npz ──► export (llama.cpp's quantiser) ──► GGUF ──► evaluate
"""

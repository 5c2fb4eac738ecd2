"""Huffman codes and their streams."""

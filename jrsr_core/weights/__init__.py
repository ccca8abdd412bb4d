"""Trained weights and the cards that describe them.

A card is a JSON file beside a safetensors file. Nothing is unpickled; a card whose hash or
architecture does not match is refused, never repaired.
"""

"""A network of a user, as source text: registered, or declared by an installed package."""

SCALED = """
import torch
from jrsr_core.models.interfaces import UpsampleModel

class Scaled(UpsampleModel):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, image):
        return self.gain * image.abs().repeat_interleave(2, -1).repeat_interleave(2, -2)
"""

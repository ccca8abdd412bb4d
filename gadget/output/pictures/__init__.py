"""Pictures of images."""

"""What all packages share, and no MR is in: files, processes, command lines, plug-ins, texts."""

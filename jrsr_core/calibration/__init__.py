"""What is estimated from the scan itself: noise, coil compression, coil maps, intensity scale."""

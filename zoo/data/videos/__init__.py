"""Video files: reading, clips, segments, shots and optical flow."""

"""Pretrained networks: their files, how they read texts and images, what they keep in memory."""

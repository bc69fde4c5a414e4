"""The page on which people review labels: queues of images, decisions, and its local server."""

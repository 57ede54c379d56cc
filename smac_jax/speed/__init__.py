"""What an update costs, and how near it comes to what the machine can do."""

"""What it costs to serve a model on this machine: each way to run it as a real server, asked in turn, and one recommended."""

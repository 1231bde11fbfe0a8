"""What leaves the project: the tuned model in the formats that engines read, and what is published with it."""

"""The page on which a person talks to the models of a server and says what they think of the answers."""

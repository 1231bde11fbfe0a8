"""The sections of a card, one file each: a function from facts to Markdown, empty where there is nothing to say."""

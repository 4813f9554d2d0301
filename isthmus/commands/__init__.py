"""The commands of the verbs: one file a verb, each parses, calls one function, prints."""

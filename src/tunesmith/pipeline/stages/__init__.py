"""The stages, one file each, named by the kind of artifact that it makes. A new file here is a new stage."""

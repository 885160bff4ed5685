"""The processes of a distributed run: how they find each other and what they exchange."""

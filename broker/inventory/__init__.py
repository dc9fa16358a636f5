"""What there is: information systems, projects, resources and their dated sizes and states, delivered or adopted."""

"""Meta-learning: training on tasks to adapt to tasks."""

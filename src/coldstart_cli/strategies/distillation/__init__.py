"""Knowledge distillation: a teacher, and a student that is used."""

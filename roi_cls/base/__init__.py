"""What every stage may use and that uses none of them: errors, files, memory, workers, figures."""

"""Reports of runs and evaluations: history, console lines, TensorBoard, tables and plots."""

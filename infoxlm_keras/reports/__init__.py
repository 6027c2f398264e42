"""What a run and an evaluation leave to read: history, console lines, TensorBoard, tables and plots."""

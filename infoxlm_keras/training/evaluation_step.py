"""The step of `evaluate`, for the backends whose variables change in place (TensorFlow and PyTorch)."""

from infoxlm_keras.training.batches import unpack_batch


class EvaluationStep:
    """Mixin of `InfoXLMPretrainer`: `test_step`, losses and metrics of one batch without any update."""

    def test_step(self, data):
        batch = unpack_batch(data)
        scales = self.scales(self.prediction_counts(batch), self.training_updates)
        loss, results = self.forward(batch, scales, training=False)
        self.update_task_metrics(results)
        self.total_loss_metric.update_state(loss)
        return self.metric_results()

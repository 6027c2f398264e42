"""The training step on TensorFlow; compiles with `jit_compile=True` too."""

import tensorflow as tf

from infoxlm_keras.training.batches import unpack_batch
from infoxlm_keras.training.evaluation_step import EvaluationStep
from infoxlm_keras.training.gradients import clip_by_norm, global_norm


class TrainStep(EvaluationStep):
    """Mixin of `InfoXLMPretrainer`: `train_step`."""

    def train_step(self, data):
        batch = unpack_batch(data)
        step = self.training_updates
        scales = self.scales(self.prediction_counts(batch), step)
        variables = self.trainable_variables

        if self.accumulation_steps == 1:
            loss, gradients = self._gradients(batch, scales)
        else:
            loss, gradients = self._accumulated_gradients(batch, scales)

        scale = tf.convert_to_tensor(self.loss_scale)
        gradients = [gradient / tf.cast(scale, gradient.dtype) for gradient in gradients]
        norm = global_norm(gradients)
        finite = tf.math.is_finite(norm)
        gradients = clip_by_norm(gradients, norm, self.clip_norm)

        def update():
            padding_row = self.padding_row()
            self.optimizer.apply(gradients, variables)
            self.restore_padding_row(padding_row)
            self.after_update(step)
            return tf.constant(True)

        tf.cond(finite, update, lambda: tf.constant(False))
        self.count_step(finite)
        self.update_step_metrics(batch, loss, norm)
        return self.metric_results()

    def _gradients(self, batch, scales):
        """(loss, dense gradients of loss * loss_scale) of one micro-batch; its keys enter the queue."""
        with tf.GradientTape() as tape:
            loss, results = self.forward(batch, scales, training=True)
            scaled_loss = loss * tf.convert_to_tensor(self.loss_scale)
        trainable = [variable.value for variable in self.trainable_variables]
        gradients = tape.gradient(scaled_loss, trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self.after_backward(results)
        self.update_task_metrics(results)
        # The embedding's gradient may arrive as slices, whose norm would ignore repeated rows.
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _accumulated_gradients(self, batch, scales):
        """Sum of loss and gradients over the micro-batches, one after another in a loop that XLA keeps rolled."""

        def body(index, loss, gradients):
            more_loss, more = self._gradients(self.micro_batch(batch, index), scales)
            return index + 1, loss + more_loss, [a + b for a, b in zip(gradients, more, strict=True)]

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.trainable_variables]
        _, loss, gradients = tf.while_loop(
            lambda index, *_: index < self.accumulation_steps,
            body,
            (tf.constant(0), tf.constant(0.0), zeros),
            maximum_iterations=self.accumulation_steps,
        )
        return loss, gradients

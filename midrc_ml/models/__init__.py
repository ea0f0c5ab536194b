"""Networks, as functions of the number of outputs: input float32 (batch, channel, row, column), output logits."""

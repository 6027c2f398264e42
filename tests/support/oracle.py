"""The method once more, from the formulas alone: NumPy, float64, nothing of the package, no care for speed.

Sources: Chi et al. (NAACL 2021) for the tasks; van den Oord et al. (2018) for InfoNCE; He et al. (2020) for queue and
moving average; Conneau et al. (2020) for the encoder; Loshchilov and Hutter (2019) for decoupled decay, with Adam's
epsilon beside the uncorrected second moment as in the authors' training code.

An encoder's parameters are a dict: `token` [V, D], `position` [P, D], `embedding_norm` (gamma, beta) and `layers`, a
list of dicts of `query`, `key`, `value` ([D, heads, D/heads], [heads, D/heads]), `output` ([heads, D/heads, D], [D]),
`attention_norm`, `intermediate`, `outer` (kernel, bias) and `feedforward_norm`. A head's: `dense` (kernel, bias),
`norm` (gamma, beta), `bias` [V].
"""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


# === Encoder ===


def gelu(x):
    """x Phi(x), with the normal distribution's own Phi."""
    return x * 0.5 * (1.0 + _erf(x / math.sqrt(2.0)))


def layer_norm(x, gamma_and_beta):
    gamma, beta = gamma_and_beta
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) + beta


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def attention(x, padding_mask, layer):
    """Multi-head self-attention [batch, length, D], one head after another."""
    (query_kernel, query_bias), (key_kernel, key_bias) = layer["query"], layer["key"]
    (value_kernel, value_bias), (output_kernel, output_bias) = layer["value"], layer["output"]
    heads, width = query_bias.shape
    out = np.zeros_like(x) + output_bias
    for head in range(heads):
        queries = x @ query_kernel[:, head] + query_bias[head]
        keys = x @ key_kernel[:, head] + key_bias[head]
        values = x @ value_kernel[:, head] + value_bias[head]
        scores = queries @ keys.transpose(0, 2, 1) / math.sqrt(width)  # [batch, length, length]
        scores = np.where(padding_mask[:, None, :] == 1, scores, -np.inf)
        out = out + softmax(scores) @ values @ output_kernel[head]
    return out


def hidden_states(parameters, token_ids, padding_mask):
    """List of [batch, length, D]: the embeddings, then the output of each post-layer-norm Transformer layer."""
    length = token_ids.shape[1]
    x = layer_norm(parameters["token"][token_ids] + parameters["position"][:length], parameters["embedding_norm"])
    states = [x]
    for layer in parameters["layers"]:
        x = layer_norm(x + attention(x, padding_mask, layer), layer["attention_norm"])
        inner = gelu(x @ layer["intermediate"][0] + layer["intermediate"][1])
        x = layer_norm(x + inner @ layer["outer"][0] + layer["outer"][1], layer["feedforward_norm"])
        states.append(x)
    return states


# === Losses ===


def cross_entropy(logits, targets):
    """-log softmax(logits)[target], of each row."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, targets[..., None], axis=-1)[..., 0]


def masked_lm_logits(parameters, head, batch):
    """[batch, predictions, V]; the output embedding is the input's."""
    state = hidden_states(parameters, batch["token_ids"], batch["padding_mask"])[-1]
    at_masks = np.take_along_axis(state, batch["mask_positions"][..., None].astype(int), axis=1)
    inner = layer_norm(gelu(at_masks @ head["dense"][0] + head["dense"][1]), head["norm"])
    return inner @ parameters["token"].T + head["bias"]


def masked_lm_loss_sum(parameters, head, batch):
    """Sum of the masked tokens' cross-entropies."""
    losses = cross_entropy(masked_lm_logits(parameters, head, batch), batch["mask_ids"].astype(int))
    return float((losses * batch["mask_weights"]).sum())


def pooled(state, padding_mask, pooling):
    if pooling == "cls":
        return state[:, 0]
    return np.stack([row[mask == 1].mean(axis=0) for row, mask in zip(state, padding_mask, strict=True)])


def normalized(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def represent(parameters, projection, token_ids, padding_mask, layer, pooling, normalize):
    """Vectors [batch, D] of sequences: hidden state `layer`, pooled, projected, perhaps of length 1."""
    vectors = pooled(hidden_states(parameters, token_ids, padding_mask)[layer], padding_mask, pooling)
    vectors = vectors if projection is None else vectors @ projection
    return normalized(vectors) if normalize else vectors


def candidates(row, keys, queue, in_batch_negatives):
    """[N, D] candidates of query `row`, its own key first; `queue` holds only slots that were filled."""
    others = [keys[other] for other in range(len(keys)) if other != row] if in_batch_negatives else []
    return np.stack([keys[row], *others, *queue])


def info_nce(queries, keys, queue, temperature, in_batch_negatives=False):
    """(loss sum, gradient of it with respect to the queries [batch, D])."""
    loss, gradient = 0.0, np.zeros_like(queries)
    for row, query in enumerate(queries):
        choices = candidates(row, keys, queue, in_batch_negatives)
        logits = choices @ query / temperature
        loss += float(cross_entropy(logits[None], np.zeros(1, int))[0])
        # d/dq (log sum exp(q.c / t) - q.k / t) = (sum p c - k) / t
        gradient[row] = (softmax(logits) @ choices - keys[row]) / temperature
    return loss, gradient


def projection_gradient(vectors, projection, keys, queue, temperature, in_batch_negatives, normalize):
    """Gradient of InfoNCE's sum with respect to the query projection; `vectors` are the pooled ones before it."""
    projected = vectors @ projection
    queries = normalized(projected) if normalize else projected
    gradient = info_nce(queries, keys, queue, temperature, in_batch_negatives)[1]
    if normalize:
        # The Jacobian of x / |x| is (I - u u') / |x|.
        along = (gradient * queries).sum(axis=-1, keepdims=True) * queries
        gradient = (gradient - along) / np.linalg.norm(projected, axis=-1, keepdims=True)
    return vectors.T @ gradient


def word_links(similarity, iterations, rounds, factor):
    """Set of (i, j) of a list of lists: XLM-Align's transport and bidirectional filtering, one entry after another."""
    m, n = len(similarity), len(similarity[0])
    plan = [[value if value > 0 else 1e-6 for value in row] for row in similarity]
    for _ in range(iterations):
        by_column = [[plan[i][j] / sum(plan[k][j] for k in range(m)) for j in range(n)] for i in range(m)]
        plan = [[by_column[i][j] / sum(by_column[i]) for j in range(n)] for i in range(m)]

    def mutual(matrix):
        forward = {(i, max(range(n), key=lambda j: matrix[i][j])) for i in range(m)}
        backward = {(max(range(m), key=lambda i: matrix[i][j]), j) for j in range(n)}
        return forward & backward

    links = mutual(plan)
    for _ in range(rounds - 1 if min(m, n) > 2 else 0):
        u = [all(i != link[0] for link in links) for i in range(m)]
        v = [all(j != link[1] for link in links) for j in range(n)]
        if not any(u) or not any(v):
            break
        weighted = [[plan[i][j] * min(1, factor * u[i] + factor * v[j]) for j in range(n)] for i in range(m)]
        links = links | {(i, j) for i, j in mutual(weighted) if u[i] or v[j]}
    return links


def pair_spans(token_ids):
    """(first, second): the positions of the two sentences of `<s> e </s> f </s>`, two ranges."""
    ends = [place for place, token in enumerate(token_ids) if token == 2]
    return range(1, ends[0]), range(ends[0] + 1, ends[1])


def word_alignment_labels(parameters, batch, layer, iterations=2, rounds=2, factor=0.9):
    """List of dict of position to its partner's position, one a row: self-labelling on the tokens before masking."""
    token_ids = batch["token_ids"].copy()
    for row, slot in zip(*batch["mask_weights"].nonzero(), strict=True):
        token_ids[row, batch["mask_positions"][row, slot]] = batch["mask_ids"][row, slot]
    states = hidden_states(parameters, token_ids, batch["padding_mask"])[layer]
    labels = []
    for row, state in zip(token_ids, states, strict=True):
        first, second = pair_spans(row)
        similarity = [[float(state[i] @ state[j]) for j in second] for i in first]
        found = {}
        for i, j in sorted(word_links(similarity, iterations, rounds, factor)):
            found[first[i]] = second[j]  # the last one counts
            found[second[j]] = first[i]
        labels.append(found)
    return labels


def word_alignment(parameters, pointer, batch, labels):
    """(loss sum, predictions, right ones, sum of log candidates); `pointer` has `query` and `key`: (kernel, bias)."""
    states = hidden_states(parameters, batch["token_ids"], batch["padding_mask"])[-1]
    loss, count, correct, log_candidates = 0.0, 0, 0, 0.0
    for row, slot in zip(*batch["mask_weights"].nonzero(), strict=True):
        place = batch["mask_positions"][row, slot]
        if place not in labels[row]:
            continue
        first, second = pair_spans(batch["token_ids"][row])
        others = second if place in first else first
        query = states[row, place] @ pointer["query"][0] + pointer["query"][1]
        keys = states[row, others.start : others.stop] @ pointer["key"][0] + pointer["key"][1]
        scores = keys @ query / math.sqrt(len(query))
        target = labels[row][place] - others.start
        loss += float(cross_entropy(scores[None], np.array([target]))[0])
        count, correct = count + 1, correct + (scores.argmax() == target)
        log_candidates += math.log(len(others))
    return loss, count, correct, log_candidates


def distillation(student, teacher, maps, pairs, batch):
    """(loss, tokens, tokens whose own teacher state is the nearest, sum of cosines); the last two of the last pair."""
    padding_mask = batch["padding_mask"]
    own, others = (hidden_states(each, batch["token_ids"], padding_mask) for each in (student, teacher))
    loss = count = correct = cosine = 0.0
    for row in range(len(padding_mask)):
        length = int(padding_mask[row].sum())
        count += length
        for number, (state, target) in enumerate(pairs):
            mapped = own[state][row, :length] if maps is None else own[state][row, :length] @ maps[number]
            wanted = others[target][row, :length]
            loss += ((mapped - wanted) ** 2).mean(axis=1).sum() / len(pairs)
        for place in range(length):
            distances = ((mapped[place] - wanted) ** 2).sum(axis=1)
            correct += distances.argmin() == place
            cosine += mapped[place] @ wanted[place] / np.linalg.norm(mapped[place]) / np.linalg.norm(wanted[place])
    return loss, count, correct, cosine


def drawn_piece(logits, uniform):
    """The first piece whose cumulative probability exceeds `uniform`."""
    total = 0.0
    for piece, probability in enumerate(softmax(logits)):
        total += probability
        if total > uniform:
            return piece
    return len(logits) - 1


def replaced_tokens(parameters, head, batch):
    """(corrupted ids, replaced 0 or 1), both [batch, length], by the generator's `parameters` and `head`."""
    logits = masked_lm_logits(parameters, head, batch)
    corrupted, replaced = batch["token_ids"].copy(), np.zeros(batch["token_ids"].shape)
    for row, slot in zip(*batch["mask_weights"].nonzero(), strict=True):
        place = batch["mask_positions"][row, slot]
        corrupted[row, place] = drawn_piece(logits[row, slot], batch["sample_uniforms"][row, slot])
        replaced[row, place] = corrupted[row, place] != batch["mask_ids"][row, slot]
    return corrupted, replaced


def replaced_token_detection(parameters, detection, corrupted, replaced, padding_mask):
    """(loss sum, tokens, right ones); `detection` is ((kernel, bias), (kernel, bias)) of its two layers."""
    state = hidden_states(parameters, corrupted, padding_mask)[-1]
    (dense, dense_bias), (output, output_bias) = detection
    logits = (gelu(state @ dense + dense_bias) @ output + output_bias)[..., 0]
    probabilities = 1.0 / (1.0 + np.exp(-logits))
    losses = -np.log(np.where(replaced == 1, probabilities, 1.0 - probabilities))
    right = ((logits > 0) == (replaced == 1)) * padding_mask
    return float((losses * padding_mask).sum()), int(padding_mask.sum()), int(right.sum())


def combined(loss_sums, counts, weights, rule):
    """The paper's sum of means, or the authors' weighted sums over the count of all that has a weight."""
    if rule == "sum_of_means":
        return sum(weights[name] * loss_sums[name] / counts[name] for name in loss_sums)
    total = sum(counts[name] for name in counts if weights[name] != 0)
    return sum(weights[name] * loss_sums[name] for name in loss_sums) / total


# === Momentum and queue ===


def moving_average(key, query, momentum):
    return momentum * key + (1.0 - momentum) * query


def momentum_at(step, kind, value, final_value=None, start=None, end=None, every=None, exponent=None):
    """m at update `step`, from 1."""
    if kind == "constant":
        return value
    if kind == "constant_with_refresh":
        return 0.0 if step % every == 0 else value
    if kind == "linear":
        if step <= start:
            return value
        if step >= end:
            return final_value
        return value + (final_value - value) * (step - start) / (end - start)
    return min(max(1.0 - step**-exponent, value), final_value)


class Queue:
    """First in, first out in a ring of `length` slots, one key at a time."""

    def __init__(self, length, dim):
        self.slots = np.zeros((length, dim))
        self.written = 0

    def enqueue(self, keys):
        if not np.isfinite(keys).all():
            return
        for key in keys:
            self.slots[self.written % len(self.slots)] = key
            self.written += 1

    @property
    def pointer(self):
        return self.written % len(self.slots)

    @property
    def count(self):
        return min(self.written, len(self.slots))

    @property
    def valid(self):
        """The keys that may be negatives."""
        return self.slots[: self.count]


# === Optimisation ===


def learning_rate_at(update, peak, warmup_steps, total_steps):
    """Rate of update number `update`, from 1."""
    if update <= warmup_steps:
        return peak * update / warmup_steps
    return peak * max(total_steps - update, 0) / (total_steps - warmup_steps)


def clipped(gradients, limit):
    """Dict of gradients, all scaled alike when they are longer than `limit` as one vector; and their length."""
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
    factor = 1.0 if limit is None or norm <= limit else limit / norm
    return {name: gradient * factor for name, gradient in gradients.items()}, norm


class AdamW:
    """Adam with decoupled decay for a dict of arrays; names in `decayed` decay."""

    def __init__(self, weights, decayed, beta_1, beta_2, epsilon, weight_decay):
        self.first = {name: np.zeros_like(weight) for name, weight in weights.items()}
        self.second = {name: np.zeros_like(weight) for name, weight in weights.items()}
        self.decayed, self.beta_1, self.beta_2 = set(decayed), beta_1, beta_2
        self.epsilon, self.weight_decay = epsilon, weight_decay
        self.update_number = 0

    def step(self, weights, gradients, learning_rate, frozen_rows=None):
        """New weights; `frozen_rows` maps a name to a row that does not move."""
        self.update_number += 1
        correction_1 = 1.0 - self.beta_1**self.update_number
        correction_2 = 1.0 - self.beta_2**self.update_number
        new = {}
        for name, weight in weights.items():
            gradient = gradients[name]
            self.first[name] = self.beta_1 * self.first[name] + (1.0 - self.beta_1) * gradient
            self.second[name] = self.beta_2 * self.second[name] + (1.0 - self.beta_2) * gradient**2
            decay = self.weight_decay if name in self.decayed else 0.0
            direction = self.first[name] / (np.sqrt(self.second[name]) + self.epsilon)
            new[name] = weight * (1.0 - learning_rate * decay)
            new[name] = new[name] - learning_rate * math.sqrt(correction_2) / correction_1 * direction
            if frozen_rows and name in frozen_rows:
                new[name][frozen_rows[name]] = weight[frozen_rows[name]]
        return new

"""LRCN-2f in PyTorch: the peer of `captioner.py` and `captions.py`.

    python benchmarks/peers/torch_captioner.py        # a training step of the paper's size, alone

Written as PyTorch users write it: `nn.Embedding`, two `nn.LSTM`, the image beside the words in
front of the second one, `nn.Linear`.
"""

import pathlib
import sys

import numpy as np
import torch
from torch import nn

sys.path.append(str(pathlib.Path(__file__).parents[1]))
import random_captioner as sizes
from harness import run_alone


class Captioner(nn.Module):
    """Words before and an image's features in, logits of the next words out."""

    def __init__(self, vocabulary_size, feature_dim, embedding_dim, units):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim)
        self.lstm1 = nn.LSTM(embedding_dim, units, batch_first=True)
        self.lstm2 = nn.LSTM(units + feature_dim, units, batch_first=True)
        self.logits = nn.Linear(units, vocabulary_size)

    def forward(self, features, token_ids):
        x, _ = self.lstm1(self.embedding(token_ids))
        image = features[:, None].expand(-1, token_ids.shape[1], -1)
        x, _ = self.lstm2(torch.cat([x, image], -1))
        return self.logits(x)

    def start(self, features):
        """The state before the first word: the image, and both LSTMs' zeros."""
        nothing = features.new_zeros(len(features), self.lstm1.hidden_size)
        return [features, nothing, nothing, nothing, nothing]

    def step(self, last, state):
        """Reads one word of each row: log-probabilities of the next one, and the new state."""
        features, h1, c1, h2, c2 = state
        h1, c1 = _cell(self.lstm1, self.embedding(last), h1, c1)
        h2, c2 = _cell(self.lstm2, torch.cat([h1, features], -1), h2, c2)
        return self.logits(h2).log_softmax(-1), [features, h1, c1, h2, c2]

    @torch.inference_mode()
    def beam_search(self, features, beams=5, max_words=20, forbidden=(), length_penalty=0.0):
        """The best sentence of each image: ids `(batch, max_words)`, zeros behind its end."""
        batch, rows = len(features), torch.arange(len(features))[:, None] * beams
        state = [tensor.repeat_interleave(beams, 0) for tensor in self.start(features)]
        last = torch.zeros(batch * beams, dtype=torch.long)
        tokens = torch.zeros(batch, beams, max_words, dtype=torch.long)
        scores = torch.full((batch, beams), -1e9)
        scores[:, 0] = 0
        ended = torch.zeros(batch, beams, dtype=torch.bool)
        lengths = torch.zeros(batch, beams)  # words of an ended beam, its end included
        for position in range(max_words):
            log_probs, state = self.step(last, state)
            log_probs[:, list(forbidden)] = -1e9
            size = log_probs.shape[-1]
            log_probs = log_probs.view(batch, beams, size)
            log_probs[ended] = -1e9  # an ended beam goes on in one way only, at no cost
            log_probs[..., 0].masked_fill_(ended, 0.0)
            candidates = (scores[..., None] + log_probs).flatten(1)
            if length_penalty:
                divisors = torch.where(ended, lengths, position + 1.0) ** length_penalty
                ranks = candidates.view(batch, beams, size) / divisors[..., None]
                chosen = ranks.flatten(1).topk(beams)[1]
                scores = candidates.gather(1, chosen)
            else:
                scores, chosen = candidates.topk(beams)
            beam, word = chosen // size, chosen % size
            tokens = tokens.gather(1, beam[..., None].expand_as(tokens))
            tokens[..., position] = word
            had_ended, lengths = ended.gather(1, beam), lengths.gather(1, beam)
            ended = had_ended | (word == 0)
            lengths[ended & ~had_ended] = position + 1.0
            # A sum of log-probabilities can only fall; a mean can rise.
            if (ended if length_penalty else ended[:, 0]).all():
                break
            state = [tensor[(rows + beam).flatten()] for tensor in state]
            last = word.flatten()
        best = (scores / lengths.clamp(min=1) ** length_penalty - 1e9 * ~ended).argmax(1)
        return tokens[torch.arange(batch), best]

    def load(self, weights):
        """Takes weights in our layout: `(inputs, outputs)`, gates in the order i, f, g, o."""
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(weights["embedding"]))
            self.logits.weight.copy_(torch.from_numpy(weights["logits"]).T)
            self.logits.bias.copy_(torch.from_numpy(weights["logits_bias"]))
            both = np.concatenate([weights["input2"], weights["image"]])
            for lstm, inputs, n in ((self.lstm1, weights["input1"], 1), (self.lstm2, both, 2)):
                lstm.weight_ih_l0.copy_(torch.from_numpy(inputs).T)
                lstm.weight_hh_l0.copy_(torch.from_numpy(weights[f"recurrent{n}"]).T)
                lstm.bias_ih_l0.copy_(torch.from_numpy(weights[f"bias{n}"]))
                lstm.bias_hh_l0.zero_()
        return self


def _cell(lstm, x, h, c):
    return torch.lstm_cell(
        x, (h, c), lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0
    )


def build():
    """The captioner with the shared weights."""
    model = Captioner(sizes.VOCABULARY_SIZE, sizes.FEATURE_DIM, sizes.UNITS, sizes.UNITS)
    return model.load(sizes.draw_weights())


def training_step():
    """Gets a training step ready: SGD with momentum and clipping, as the authors' solver."""
    model, token_ids = build(), torch.from_numpy(sizes.draw_captions()).long()
    features = torch.from_numpy(sizes.draw_features(len(token_ids)))
    before = nn.functional.pad(token_ids[:, :-1], (1, 0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        logits = model(features, before)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), token_ids.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        return loss.item()

    return step


def beam_search(images):
    """Gets a beam search ready."""
    model, features = build().eval(), torch.from_numpy(sizes.draw_features(images))
    return lambda: model.beam_search(features).numpy()


if __name__ == "__main__":
    run_alone(training_step())

// What a batch's tokens say about its rows: pure functions on the host, of how documents lie in it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/token_batch.h"
#include "model/span.h"

namespace photon {

// A *unit* is `tokens_per_unit` consecutive tokens (C_<=l of them at level l); sequences hold whole units.

// [units] The place in its sequence of the first unit of its document: what attention looks back to.
std::vector<int32_t> DocumentUnits(const TokenBatch& batch, int64_t tokens_per_unit);
bool AnyMasked(const TokenBatch& batch);  // whether a document begins inside a sequence

// [units of the span] The shift: the row of the unit before, or -1 (the start latent) at the first unit of a document;
// where the unit before is the last one of the span before, -2 - the sequence's number.
std::vector<int32_t> ShiftIndex(const TokenBatch& batch, int64_t tokens_per_unit, Span span = {});

// [units] 1 for units that hold a real token, else 0.
std::vector<int32_t> RealUnits(const TokenBatch& batch, int64_t tokens_per_unit);

// [rows] The token that each row's logits score, `offset` tokens on; -1 where none is.
std::vector<int32_t> RowTargets(const TokenBatch& batch, int offset);

}  // namespace photon

/* SPDX-License-Identifier: Apache-2.0
 * Write a portable model once more, with its weights in the order of the kernels that will run it. The image is the file up
 * to its constants, then the packed weights; the constants keep their places, so nothing else moves. */
#include "edgeq/edgeq.h"
#include "edgeq/memory.h"
#include "kernels/kernels.h"
#include "ops/pack.h"

#define CODE_OF(code, name, ...) CODE_##name = (code),
enum { EQ_STEPS(CODE_OF) };
#undef CODE_OF

enum { LOOK_BACK = 1024 }; /* steps searched for the same weights, as unrolled loops have them */

static uint32_t layout_of(const eq_model *model, const char *isa) {
  const eq_kernels *kernels = eq_kernels_select(isa);
  if (kernels == NULL || kernels->packed_gemm_s8 == NULL || model->header->layout != EQ_LAYOUT_PORTABLE) {
    return EQ_LAYOUT_PORTABLE;
  }
  return kernels->layout;
}

/* Where a step's weights are named in its parameters, which begin at params; NULL for kinds without packed weights. */
static eq_span *weights_of(uint16_t code, uint8_t *params) {
  if (code == CODE_conv2d) return &((eq_conv2d_params *)(void *)params)->weights;
  if (code == CODE_depthwise_conv2d) return &((eq_depthwise_conv2d_params *)(void *)params)->weights;
  return NULL;
}

static uint64_t packed_bytes(const eq_model *model, const eq_step_record *s, uint32_t layout) {
  const void *params = model->params + s->params_offset;
  if (s->code == CODE_conv2d) return eq_packed_conv2d(params, layout, s->scratch_bytes);
  if (s->code == CODE_depthwise_conv2d) return eq_packed_depthwise_conv2d(params, layout);
  return 0;
}

static eq_span portable_weights(const eq_model *model, const eq_step_record *s) {
  const uint8_t *params = model->params + s->params_offset;
  return s->code == CODE_conv2d ? ((const eq_conv2d_params *)(const void *)params)->weights
                                : ((const eq_depthwise_conv2d_params *)(const void *)params)->weights;
}

/* An earlier step whose packed weights are the same: same kind, portable span, packed size, groups and channels. */
static const eq_step_record *find_twin(const eq_model *model, uint32_t i, uint32_t layout) {
  const eq_step_record *s = &model->steps[i];
  const eq_span span = portable_weights(model, s);
  for (uint32_t back = 1; back <= i && back <= LOOK_BACK; back++) {
    const eq_step_record *t = &model->steps[i - back];
    if (t->code != s->code || packed_bytes(model, t, layout) != packed_bytes(model, s, layout)) continue;
    const eq_span other = portable_weights(model, t);
    if (other.offset != span.offset || other.bytes != span.bytes) continue;
    if (s->code != CODE_conv2d) return t;
    const eq_conv2d_params *a = (const void *)(model->params + s->params_offset);
    const eq_conv2d_params *b = (const void *)(model->params + t->params_offset);
    if (a->groups == b->groups && a->output[3] == b->output[3]) return t;
  }
  return NULL;
}

/* Whole cache lines, which the widest registers read in one go. */
static uint64_t aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

/* Bytes of the file up to the end of its constants. */
static size_t kept_bytes(const eq_model *model) {
  return (size_t)model->header->constants_offset + model->header->constants_size;
}

size_t eq_repacked_bytes(const eq_model *model, const char *isa) {
  const uint32_t layout = layout_of(model, isa);
  if (layout == EQ_LAYOUT_PORTABLE) return 0;
  uint64_t bytes = aligned(kept_bytes(model));
  for (uint32_t i = 0; i < model->header->step_count; i++) {
    const uint64_t packed = packed_bytes(model, &model->steps[i], layout);
    if (packed != 0 && find_twin(model, i, layout) == NULL) bytes += aligned(packed);
  }
  return bytes <= UINT32_MAX ? (size_t)bytes : 0; /* 2^16 steps of less than 2^48 bytes cannot overflow the sum */
}

void eq_model_repack(void *to, const eq_model *model, const char *isa) {
  const uint32_t layout = layout_of(model, isa);
  uint8_t *image = to;
  eq_copy(image, model->bytes, kept_bytes(model));
  eq_header_record *header = to;
  uint8_t *params = image + header->params_offset;
  size_t end = (size_t)aligned(kept_bytes(model));
  for (uint32_t i = 0; i < header->step_count; i++) {
    const eq_step_record *s = &model->steps[i];
    const size_t packed = (size_t)packed_bytes(model, s, layout);
    if (packed == 0) continue;
    eq_span *span = weights_of(s->code, params + s->params_offset);
    const eq_step_record *twin = find_twin(model, i, layout);
    if (twin != NULL) {
      *span = *weights_of(twin->code, params + twin->params_offset);
      continue;
    }
    const int8_t *weights = (const int8_t *)model->constants + portable_weights(model, s).offset;
    int8_t *place = (int8_t *)image + end;
    if (s->code == CODE_conv2d) {
      eq_pack_conv2d(place, weights, (const void *)(model->params + s->params_offset), layout);
    } else {
      eq_pack_depthwise_conv2d(place, weights, (const void *)(model->params + s->params_offset));
    }
    *span = (eq_span){(uint32_t)(end - header->constants_offset), (uint32_t)packed};
    const size_t padded = (size_t)aligned(packed);
    eq_fill(image + end + packed, 0, padded - packed);
    end += padded;
  }
  header->layout = layout;
  header->constants_size = (uint32_t)(end - header->constants_offset);
  header->metadata_offset = header->golden_offset = header->signature_offset = (uint32_t)end;
  header->metadata_size = header->golden_size = header->signature_size = 0;
  header->file_bytes = (uint32_t)end;
  header->payload_crc = 0;
  header->header_crc = eq_crc32(0, header, offsetof(eq_header_record, header_crc));
}

/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution: the kernel sees only taps inside the image, those outside go into the bias. */
#include "edgeq/fixed_point.h"
#include "edgeq/format.h"
#include "edgeq/ops.h"
#include "kernels/packed.h"
#include "ops/linear.h"
#include "ops/order.h"
#include "ops/pack.h"

enum { N, H, W, C };
enum {
  BIASES = 3, /* as many as the blocks of a line have, for windows that reach one pixel beyond either end */
  BAND_LINES = 4, /* of output, or a multiple, in each band but the last of an image that is copied */
  BAND_PIXELS = 2048, /* of an image, at most: copying costs as much as its pixels, blocks at its border only set-up, */
  BAND_CHANNELS = 16, /* which is the same for this many channels as for fewer */
  SLACK = 16,         /* bytes behind a band that may be written */
};

/* Packed weights are row-major ones followed by how many taps may be chained, see eq_find_chains. */
static uint32_t chains_bytes(const eq_depthwise_conv2d_params *p) { return ((uint32_t)p->output[C] + 7) / 8; }

eq_status eq_check_depthwise_conv2d(const eq_step_check *s, const eq_depthwise_conv2d_params *p) {
  const uint64_t in_bytes = eq_volume(p->input, 4), out_bytes = eq_volume(p->output, 4);
  if (!eq_has_operands(s, 1, 1) || !eq_input_is(s, 0, in_bytes) || !eq_output_is(s, 0, out_bytes)) return EQ_ERR_STEP;
  if (p->input[N] != p->output[N] || p->input[C] != p->output[C]) return EQ_ERR_STEP;
  for (int32_t axis = 0; axis < 2; axis++) {
    if (!eq_axis_legal(p->output[H + axis], p->kernel[axis], p->stride[axis], p->dilation[axis], p->padding[axis]))
      return EQ_ERR_STEP;
  }
  const uint32_t n = (uint32_t)p->output[C];
  const uint64_t taps = eq_volume2(p->kernel[0], p->kernel[1]);
  if (taps > EQ_MAX_DEPTH) return EQ_ERR_STEP;
  const bool packed = s->layout != EQ_LAYOUT_PORTABLE && p->weights_zero == 0 && p->weights.bytes != n * taps;
  if (!eq_span_is(s, p->weights, n * taps + (packed ? chains_bytes(p) : 0))) return EQ_ERR_STEP;
  if (!eq_channels_legal(s, p->bias, n, 4, p->multipliers, p->shifts, n, 30)) return EQ_ERR_STEP;
  if (!eq_codes_legal(p->input_zero, p->weights_zero, p->output_zero, p->act_min, p->act_max, p->mode,
                      eq_all_half(s, p->multipliers)))
    return EQ_ERR_STEP;
  return s->scratch_bytes >= 4 * (uint64_t)n ? EQ_OK : EQ_ERR_STEP;
}

uint64_t eq_packed_depthwise_conv2d(const eq_depthwise_conv2d_params *p, uint32_t layout) {
  if (layout == EQ_LAYOUT_PORTABLE || p->weights_zero != 0) return 0;
  return (uint64_t)p->weights.bytes + chains_bytes(p);
}

void eq_pack_depthwise_conv2d(int8_t *to, const int8_t *weights, const eq_depthwise_conv2d_params *p) {
  const int32_t taps = p->kernel[0] * p->kernel[1], channels = p->output[C];
  const size_t bytes = (size_t)taps * (size_t)channels;
  eq_copy(to, weights, bytes);
  eq_find_chains((uint8_t *)to + bytes, weights, taps, channels);
}

/* Output coordinates from .. to of one axis, whose windows have the taps lo .. hi in the image; the first tap of the first
 * window is at coordinate `first`. */
typedef struct span {
  int32_t from;
  int32_t to;
  int32_t first;
  int32_t lo;
  int32_t hi;
} span;

/* The longest span that begins at output coordinate `from`, its first tap at coordinate `first`. */
static span find_span(int32_t from, const eq_depthwise_conv2d_params *p, int32_t axis) {
  const int32_t taps = p->kernel[axis], stride = p->stride[axis], dilation = p->dilation[axis];
  const int32_t size = p->input[H + axis], end = p->output[H + axis];
  const int32_t first = from * stride - p->padding[axis], last = first + (taps - 1) * dilation;
  span s = {.from = from, .to = from + 1, .first = first, .lo = 0, .hi = taps};
  if (first < 0) s.lo = eq_min32((-first + dilation - 1) / dilation, taps);
  if (last >= size) s.hi = first >= size ? 0 : (size - first + dilation - 1) / dilation;
  if (s.hi < s.lo) s.hi = s.lo;
  if (s.lo == 0 && s.hi == taps) s.to = eq_min32(from + (size - 1 - last) / stride + 1, end);
  return s;
}

/* Write the bias of windows that leave the image: out-of-image taps count as the input's zero point. */
static void fold_outside(int32_t *bias, const eq_depthwise_conv2d_params *p, const int32_t *inside_bias,
                         const int8_t *weights, const span *rows, const span *columns) {
  const int32_t channels = p->input[C], zero = p->input_zero, weights_zero = p->weights_zero;
  eq_copy(bias, inside_bias, (size_t)channels * sizeof *bias);
  for (int32_t i = 0; i < p->kernel[0]; i++) {
    for (int32_t j = 0; j < p->kernel[1]; j++, weights += channels) {
      if (i >= rows->lo && i < rows->hi && j >= columns->lo && j < columns->hi) continue;
      if (weights_zero == 0) {
        for (int32_t c = 0; c < channels; c++) bias[c] = eq_add32(bias[c], zero * weights[c]);
      } else {
        for (int32_t c = 0; c < channels; c++) bias[c] = eq_add32(bias[c], zero * (weights[c] - weights_zero));
      }
    }
  }
}

/* The taps of windows that leave the image, whose bias is kept while the next line's windows leave it alike. */
typedef struct outside_bias {
  bool known;
  int32_t rows[2];
  int32_t columns[2];
} outside_bias;

static bool is_known(const outside_bias *slot, const span *rows, const span *columns) {
  return slot->known && slot->rows[0] == rows->lo && slot->rows[1] == rows->hi && slot->columns[0] == columns->lo &&
         slot->columns[1] == columns->hi;
}

/* What the blocks of a step have in common. */
typedef struct block_maker {
  const eq_step_io *io;
  const eq_depthwise_conv2d_params *p;
  const int8_t *weights;
  eq_depthwise_window window;
  eq_linear_s8 linear;
  outside_bias slots[BIASES];
} block_maker;

/* The bias of a block: the layer's own, or that of windows outside, from slot number `slot` of the scratch. */
static const int32_t *bias_of(block_maker *m, uint32_t slot, const span *rows, const span *columns) {
  const eq_depthwise_conv2d_params *p = m->p;
  const int32_t *inside = eq_constant(m->io, p->bias);
  const bool whole = rows->hi - rows->lo == p->kernel[0] && columns->hi - columns->lo == p->kernel[1];
  if (whole || p->input_zero == 0) return inside;
  int32_t *bias = (int32_t *)m->io->scratch + (size_t)slot * (size_t)p->input[C];
  if (!is_known(&m->slots[slot], rows, columns)) {
    fold_outside(bias, p, inside, m->weights, rows, columns);
    m->slots[slot] = (outside_bias){true, {rows->lo, rows->hi}, {columns->lo, columns->hi}};
  }
  return bias;
}

/* Whole windows of an image whose rows are `line` bytes long; how many is left open. */
static eq_depthwise_window window_of(const block_maker *m, size_t line) {
  const eq_depthwise_conv2d_params *p = m->p;
  const size_t channels = (size_t)p->input[C];
  const size_t weights_bytes = (size_t)p->kernel[0] * (size_t)p->kernel[1] * channels;
  return (eq_depthwise_window){
      .rows = p->kernel[0],
      .columns = p->kernel[1],
      .x_row = (size_t)p->dilation[0] * line,
      .x_column = (size_t)p->dilation[1] * channels,
      .x_pixel = (size_t)p->stride[1] * channels,
      .x_line = (size_t)p->stride[0] * line,
      .w_row = (size_t)p->kernel[1] * channels,
      .w_column = channels,
      .out_line = (size_t)p->output[W] * channels,
      .chains = p->weights.bytes == weights_bytes ? NULL : (const uint8_t *)m->weights + weights_bytes,
  };
}

/* A block of output pixels whose windows leave the image alike. */
static void run_block(block_maker *m, int8_t *out, const int8_t *image, const span *rows, const span *columns,
                      uint32_t slot) {
  const eq_depthwise_conv2d_params *p = m->p;
  const size_t channels = (size_t)p->input[C], line = (size_t)p->input[W] * channels;
  const int8_t *weights = m->weights;
  eq_depthwise_window *window = &m->window;
  m->linear.bias = bias_of(m, slot, rows, columns);
  window->lines = rows->to - rows->from;
  window->pixels = columns->to - columns->from;
  window->rows = rows->hi - rows->lo;
  window->columns = columns->hi - columns->lo;
  if (window->rows > 0 && window->columns > 0) {
    image += (size_t)(rows->first + rows->lo * p->dilation[0]) * line;
    image += (size_t)(columns->first + columns->lo * p->dilation[1]) * channels;
    weights += (size_t)rows->lo * window->w_row + (size_t)columns->lo * channels;
  }
  out += (size_t)rows->from * window->out_line + (size_t)columns->from * channels;
  m->io->kernels->depthwise_s8(out, image, weights, p->input[C], window, &m->linear);
}

/* Pixels along one axis from the first tap of the first of `n` windows to the last tap of the last. */
static uint64_t reach(const eq_depthwise_conv2d_params *p, int32_t axis, int32_t n) {
  return (uint64_t)(uint32_t)(n - 1) * (uint32_t)p->stride[axis] +
         (uint64_t)(uint32_t)(p->kernel[axis] - 1) * (uint32_t)p->dilation[axis] + 1;
}

/* The output lines whose input, padding included, fits the scratch; 0 when bands of them are not worth copying, because
 * windows stay inside the image, neighbouring bands would have most of their rows in common or the image is large. */
static int32_t band_lines(const eq_step_io *io, const eq_depthwise_conv2d_params *p) {
  const span rows = find_span(0, p, 0), columns = find_span(0, p, 1);
  if (rows.to == p->output[H] && columns.to == p->output[W]) return 0;
  const uint64_t pixels = eq_volume2(p->input[H], p->input[W]);
  if (pixels * (uint32_t)eq_min32(p->input[C], BAND_CHANNELS) > BAND_PIXELS * BAND_CHANNELS) return 0;
  const uint64_t line = reach(p, 1, p->output[W]) * (uint32_t)p->input[C];
  if (line + SLACK > io->scratch_bytes) return 0; /* so that no product passes 2^62 */
  if (line * reach(p, 0, eq_min32(BAND_LINES, p->output[H])) + SLACK > io->scratch_bytes) return 0;
  if (line * reach(p, 0, p->output[H]) + SLACK <= io->scratch_bytes) return p->output[H];
  const uint32_t rows_fit = (io->scratch_bytes - SLACK) / (uint32_t)line;
  const uint32_t lines = (rows_fit - (uint32_t)reach(p, 0, 1)) / (uint32_t)p->stride[0] + 1;
  return (int32_t)(lines - lines % BAND_LINES);
}

/* Output lines from .. to of an image, through a copy of a band of it that has the padding in place. */
static void run_band(block_maker *m, int8_t *out, const int8_t *image, int32_t from, int32_t to) {
  const eq_step_io *io = m->io;
  const eq_depthwise_conv2d_params *p = m->p;
  const size_t pixel = (size_t)p->input[C], image_line = (size_t)p->input[W] * pixel;
  const size_t line = (size_t)reach(p, 1, p->output[W]) * pixel;
  const int32_t left = eq_max32(p->padding[1], 0), skipped = left - p->padding[1];
  const int32_t columns = (int32_t)reach(p, 1, p->output[W]), rows = (int32_t)reach(p, 0, to - from);
  const int32_t inside = eq_max32(eq_min32(p->input[W] - skipped, columns - left), 0);
  const int32_t first = from * p->stride[0] - p->padding[0];
  const int32_t above = eq_min32(eq_max32(-first, 0), rows);
  const int32_t present = eq_max32(eq_min32(p->input[H] - first, rows) - above, 0);
  const eq_padded_rows padded = {
      .above = above,
      .inside = present,
      .below = rows - above - present,
      .fill = (uint8_t)p->input_zero,
      .left = (size_t)eq_min32(left, columns) * pixel,
      .middle = (size_t)inside * pixel,
      .right = (size_t)eq_max32(columns - left - inside, 0) * pixel,
      .pitch = image_line,
  };
  const int8_t *source = image;
  if (present > 0 && inside > 0) source += (size_t)(first + above) * image_line + (size_t)skipped * pixel;
  io->kernels->pad_rows_u8(io->scratch, (const uint8_t *)source, &padded);
  m->window = window_of(m, line);
  m->window.lines = to - from;
  m->window.pixels = p->output[W];
  io->kernels->depthwise_s8(out + (size_t)from * m->window.out_line, io->scratch, m->weights, p->input[C], &m->window,
                            &m->linear);
}

void eq_op_depthwise_conv2d(const eq_step_io *io, const eq_depthwise_conv2d_params *p) {
  const int8_t *image = eq_in(io, 0);
  int8_t *out = eq_out(io, 0);
  const size_t in_bytes = (size_t)p->input[H] * (size_t)p->input[W] * (size_t)p->input[C];
  const size_t out_bytes = (size_t)p->output[H] * (size_t)p->output[W] * (size_t)p->input[C];
  /* an output that follows its input through memory is made line by line, another one block by block */
  const uintptr_t written = (uintptr_t)out, read = (uintptr_t)image;
  const size_t images = (size_t)p->output[N];
  const bool apart = written + images * out_bytes <= read || read + images * in_bytes <= written;
  block_maker m = {
      .io = io,
      .p = p,
      .weights = eq_constant(io, p->weights),
      .linear =
          {
              .bias = eq_constant(io, p->bias),
              .multipliers = eq_constant(io, p->multipliers),
              .shifts = eq_constant(io, p->shifts),
              .weights_zero = p->weights_zero,
              .zero = p->output_zero,
              .act_min = p->act_min,
              .act_max = p->act_max,
              .mode = p->mode,
          },
  };
  m.window = window_of(&m, (size_t)p->input[W] * (size_t)p->input[C]);
  const uint32_t fitting = io->scratch_bytes / (4 * (uint32_t)p->input[C]);
  const uint32_t last_slot = fitting >= BIASES ? BIASES - 1 : fitting == 0 ? 0 : fitting - 1;
  const int32_t band = band_lines(io, p);
  int32_t from, to;
  eq_share(io, p->output[H], 1, &from, &to); /* lines of every image */
  for (int32_t n = 0; n < p->output[N]; n++, image += in_bytes, out += out_bytes) {
    if (apart && band > 0) {
      for (int32_t y = from; y < to; y += band) run_band(&m, out, image, y, eq_min32(y + band, to));
      continue;
    }
    span rows;
    for (int32_t y = from; y < to; y = rows.to) {
      rows = find_span(y, p, 0);
      rows.to = apart ? eq_min32(rows.to, to) : y + 1;
      span columns;
      uint32_t slot = 0;
      for (int32_t x = 0; x < p->output[W]; x = columns.to) {
        columns = find_span(x, p, 1);
        run_block(&m, out, image, &rows, &columns, slot);
        if (slot < last_slot) slot++;
      }
    }
  }
}

eq_sharing eq_sharing_depthwise_conv2d(const eq_depthwise_conv2d_params *p, const uint8_t *constants, uint32_t input,
                                       uint32_t output, int64_t ahead) {
  (void)constants, (void)input, (void)output;
  const eq_row_order rows = {
      .images = p->input[N], .in_rows = p->input[H], .out_rows = p->output[H],
      .in_row_bytes = (int64_t)p->input[W] * p->input[C], .out_row_bytes = (int64_t)p->output[W] * p->output[C],
      .stride = p->stride[0], .before = p->padding[0],
  };
  return ahead >= eq_row_distance(&rows) ? EQ_OVER : EQ_APART;
}

# SPDX-License-Identifier: Apache-2.0
r"""Train the demo's digit classifier and write the files in `edgeq/demo_data`.

The network is a depthwise-separable CNN on scikit-learn's 8x8 digits. It is written twice: as a float32 `.tflite` made
here, and as an int8 `.tflite` made from that by ai-edge-quantizer, a tool independent of edgeq.
Seeds are fixed and one thread is used, so the same package versions on the same CPU give the same files.

    pip install torch==2.13.0 scikit-learn==1.9.1 ai-edge-litert==2.3.0 \
        ai-edge-quantizer==0.10.0 flatbuffers==25.12.19
    python tools/train_demo.py
"""
# These packages ship no types, and a type check should not need them installed.
# mypy: disable-error-code="import-untyped,import-not-found"

import argparse
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
import numpy.typing as npt
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer, recipe
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

SEED = 20
EPOCHS = 150
BATCH_ROWS = 32
LEARNING_RATE = 0.01
CALIBRATION_ROWS = 128
CLASSES = 10
PROBABILITY_TOLERANCE = 1e-5
MIN_FLOAT_ACCURACY = 98.0  # percent
MAX_INT8_DROP = 1.0  # percentage points
HEAD_CHANNELS = 48

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Conv:
    """Describe one convolution with SAME padding, batch norm while training, and a fused activation."""

    name: str
    channels_in: int
    channels_out: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    relu6: bool = True


@dataclass(frozen=True)
class Stage:
    """Describe convolutions in a row; a residual stage ends in relu(last output + stage input)."""

    name: str
    convs: tuple[Conv, ...]
    residual: bool = False


def separable(name: str, channels_in: int, channels_out: int, *, stride: int = 1) -> Stage:
    """Return a depthwise 3x3 and a pointwise 1x1; residual where input and output shapes agree."""
    residual = stride == 1 and channels_in == channels_out
    return Stage(
        name,
        (
            Conv(f"{name}/depthwise", channels_in, channels_in, kernel=3, stride=stride, depthwise=True),
            Conv(f"{name}/pointwise", channels_in, channels_out, relu6=not residual),
        ),
        residual,
    )


# 8x8x1 in; "down" halves that to 4x4. The mean over the picture, a fully connected layer and softmax follow.
STAGES = (
    Stage("stem", (Conv("stem", 1, 16, kernel=3),)),
    separable("block1", 16, 16),
    separable("down", 16, 32, stride=2),
    separable("block2", 32, 32),
    separable("block3", 32, 32),
    Stage("head", (Conv("head", 32, HEAD_CHANNELS),)),
)
CONVS = tuple(conv for stage in STAGES for conv in stage.convs)


@dataclass(frozen=True)
class Rows:
    """Hold pictures x (N, 8, 8, 1) float32 in [0, 1] and their digits y (N,) int64."""

    x: FloatArray
    y: IntArray


def load_rows() -> tuple[Rows, Rows, Rows]:
    """Return the training (70 %), validation (10 %) and held-out test (20 %) rows, stratified by digit."""
    digits = load_digits()
    x = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]  # (1797, 8, 8, 1)
    y = digits.target.astype(np.int64)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=SEED)
    x_train, x_valid, y_train, y_valid = train_test_split(
        x_rest, y_rest, test_size=180, stratify=y_rest, random_state=SEED
    )
    return Rows(x_train, y_train), Rows(x_valid, y_valid), Rows(x_test, y_test)


def make_network() -> nn.ModuleDict:
    """Return the trainable layers by name: convolutions without bias, their batch norms, and the logits."""
    layers: dict[str, nn.Module] = {"logits": nn.Linear(HEAD_CHANNELS, CLASSES)}
    for conv in CONVS:
        groups = conv.channels_in if conv.depthwise else 1
        layers[conv.name] = nn.Conv2d(
            conv.channels_in, conv.channels_out, conv.kernel, conv.stride, groups=groups, bias=False
        )
        layers[f"{conv.name}/norm"] = nn.BatchNorm2d(conv.channels_out)
    return nn.ModuleDict(layers)


def pad_same(x: Tensor, conv: Conv) -> Tensor:
    """Pad x (N, C, H, W) as TFLite's SAME does: an odd row or column goes to the bottom or right."""
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((math.ceil(size / conv.stride) - 1) * conv.stride + conv.kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads)


def forward(network: nn.ModuleDict, x: Tensor) -> Tensor:
    """Return the logits (N, 10) of pictures x (N, 1, 8, 8)."""
    for stage in STAGES:
        stage_input = x
        for conv in stage.convs:
            x = network[f"{conv.name}/norm"](network[conv.name](pad_same(x, conv)))
            if conv.relu6:
                x = functional.relu6(x)
        if stage.residual:
            x = functional.relu(x + stage_input)
    logits: Tensor = network["logits"](x.mean(dim=(2, 3)))
    return logits


def jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift each picture of x (N, 1, 8, 8) a little: 12 degrees, 10 %, half a pixel at most."""
    rows = x.shape[0]
    angle, scale, right, down = 2.0 * torch.rand(4, rows, generator=generator) - 1.0
    angle = angle * math.radians(12.0)
    scale = 1.0 + 0.1 * scale
    # affine_grid measures shifts in half pictures: half a pixel of eight is 0.125.
    top = torch.stack((scale * torch.cos(angle), -scale * torch.sin(angle), 0.125 * right), dim=1)
    bottom = torch.stack((scale * torch.sin(angle), scale * torch.cos(angle), 0.125 * down), dim=1)
    matrices = torch.stack((top, bottom), dim=1)  # (N, 2, 3)
    grid = functional.affine_grid(matrices, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def to_torch(x: FloatArray) -> Tensor:
    """Return pictures (N, H, W, C) as a tensor (N, C, H, W)."""
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


def train(train_rows: Rows, valid_rows: Rows) -> nn.ModuleDict:
    """Return the network of the epoch with the lowest validation loss, in evaluation mode."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    x, y = to_torch(train_rows.x), torch.from_numpy(train_rows.y)
    x_valid, y_valid = to_torch(valid_rows.x), torch.from_numpy(valid_rows.y)
    network = make_network()
    best, best_loss = deepcopy(network), math.inf
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        network.train()
        order = torch.randperm(len(y), generator=generator)
        for start in range(0, len(y), BATCH_ROWS):
            rows = order[start : start + BATCH_ROWS]
            logits = forward(network, jitter(x[rows], generator))
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(logits, y[rows], label_smoothing=0.05))
            optimizer.step()
        schedule.step()
        network.eval()
        with torch.no_grad():
            loss = functional.cross_entropy(forward(network, x_valid), y_valid).item()
        if loss < best_loss:
            best, best_loss = deepcopy(network), loss
    return best.eval()


def array_of(tensor: Tensor) -> npt.NDArray[np.float64]:
    """Return a parameter as float64."""
    array: npt.NDArray[np.float64] = tensor.detach().double().numpy()
    return array


def fold_batch_norm(network: nn.ModuleDict, conv: Conv) -> tuple[FloatArray, FloatArray]:
    """Return weights and bias that do the convolution and its batch norm in one.

    The weights are laid out for TFLite: (O, H, W, I), or (1, H, W, C) where depthwise. The bias is (O,).
    """
    kernel, norm = network[conv.name], network[f"{conv.name}/norm"]
    assert isinstance(kernel, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = array_of(norm.weight) / np.sqrt(array_of(norm.running_var) + norm.eps)  # (O,) float64
    bias = array_of(norm.bias) - gain * array_of(norm.running_mean)
    weights = array_of(kernel.weight) * gain[:, np.newaxis, np.newaxis, np.newaxis]  # (O, I, H, W)
    order = (1, 2, 3, 0) if conv.depthwise else (0, 2, 3, 1)
    return weights.transpose(order).astype(np.float32), bias.astype(np.float32)


class TfliteWriter:
    """Collect the tensors and operators of one subgraph, then give them as a `.tflite` file."""

    def __init__(self) -> None:
        self._subgraph = schema.SubGraphT(name="main", inputs=[], outputs=[], tensors=[], operators=[])
        # Buffer 0 is empty by convention: it stands for every tensor without constant data.
        self._model = schema.ModelT(
            version=3, description="edgeq demo digits", buffers=[schema.BufferT()], operatorCodes=[]
        )
        self._model.subgraphs = [self._subgraph]

    def tensor(self, name: str, shape: Sequence[int], *, kind: int = schema.TensorType.FLOAT32, buffer: int = 0) -> int:
        """Add a tensor, by default a float32 activation, and return its index."""
        tensors = self._subgraph.tensors
        tensors.append(schema.TensorT(name=name, shape=list(shape), type=kind, buffer=buffer, hasRank=True))
        return len(tensors) - 1

    def constant(self, name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> int:
        """Add a float32 or int32 constant and return its index."""
        buffers = self._model.buffers
        buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        kind = schema.TensorType.FLOAT32 if values.dtype == np.float32 else schema.TensorType.INT32
        return self.tensor(name, values.shape, kind=kind, buffer=len(buffers) - 1)

    def operator(self, kind: str, inputs: Sequence[int], output: int, *, options: object) -> None:
        """Add the builtin operator `kind`, say "CONV_2D", with its options table from the schema."""
        code = getattr(schema.BuiltinOperator, kind)
        codes = self._model.operatorCodes
        if code not in [known.builtinCode for known in codes]:
            codes.append(schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1))
        self._subgraph.operators.append(
            schema.OperatorT(
                opcodeIndex=[known.builtinCode for known in codes].index(code),
                inputs=list(inputs),
                outputs=[output],
                builtinOptions=options,
                builtinOptionsType=getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T")),
            )
        )

    def finish(self, input_index: int, output_index: int) -> bytes:
        """Return the file, its input and output named x and y in the signature "serving_default"."""
        self._subgraph.inputs = [input_index]
        self._subgraph.outputs = [output_index]
        self._model.signatureDefs = [
            schema.SignatureDefT(
                inputs=[schema.TensorMapT(name="x", tensorIndex=input_index)],
                outputs=[schema.TensorMapT(name="y", tensorIndex=output_index)],
                signatureKey="serving_default",
                subgraphIndex=0,
            )
        ]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def write_conv(writer: TfliteWriter, network: nn.ModuleDict, *, conv: Conv, source: int, size: int) -> int:
    """Add one convolution whose output is size x size pixels; return the output's index."""
    weights, bias = fold_batch_norm(network, conv)
    activation = schema.ActivationFunctionType.RELU6 if conv.relu6 else schema.ActivationFunctionType.NONE
    options = schema.DepthwiseConv2DOptionsT(depthMultiplier=1) if conv.depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideH = options.strideW = conv.stride
    options.fusedActivationFunction = activation
    inputs = (source, writer.constant(f"{conv.name}/weights", weights), writer.constant(f"{conv.name}/bias", bias))
    output = writer.tensor(conv.name, (1, size, size, conv.channels_out))
    writer.operator("DEPTHWISE_CONV_2D" if conv.depthwise else "CONV_2D", inputs, output, options=options)
    return output


def to_tflite(network: nn.ModuleDict) -> bytes:
    """Return the network with batch norms folded as a float32 `.tflite`: (1, 8, 8, 1) to probabilities (1, 10)."""
    writer = TfliteWriter()
    size = 8
    model_input = current = writer.tensor("x", (1, size, size, 1))
    for stage in STAGES:
        stage_input = current
        for conv in stage.convs:
            size = math.ceil(size / conv.stride)
            current = write_conv(writer, network, conv=conv, source=current, size=size)
        if stage.residual:
            output = writer.tensor(f"{stage.name}/add", (1, size, size, stage.convs[-1].channels_out))
            options = schema.AddOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU)
            writer.operator("ADD", (stage_input, current), output, options=options)
            current = output
    mean = writer.tensor("mean", (1, HEAD_CHANNELS))
    axes = writer.constant("mean/axes", np.array([1, 2], np.int32))
    writer.operator("MEAN", (current, axes), mean, options=schema.ReducerOptionsT(keepDims=False))

    linear = network["logits"]
    assert isinstance(linear, nn.Linear)
    weights = writer.constant("logits/weights", array_of(linear.weight).astype(np.float32))  # (10, C)
    bias = writer.constant("logits/bias", array_of(linear.bias).astype(np.float32))
    logits = writer.tensor("logits", (1, CLASSES))
    writer.operator("FULLY_CONNECTED", (mean, weights, bias), logits, options=schema.FullyConnectedOptionsT())
    probabilities = writer.tensor("probabilities", (1, CLASSES))
    writer.operator("SOFTMAX", (logits,), probabilities, options=schema.SoftmaxOptionsT(beta=1.0))
    return writer.finish(model_input, probabilities)


def quantize(float_model: bytes, x: FloatArray) -> bytes:
    """Return float_model in int8 with per-channel weights, its ranges the extremes over calibration rows x."""
    tool = quantizer.Quantizer(bytearray(float_model), recipe.static_wi8_ai8())
    # Given all rows at once the tool averages their extremes, which clips the activations; so each goes alone.
    ranges = tool.calibrate({"serving_default": [{"x": x[:1]}]}, num_threads=1)
    for row in x[1:]:
        row_ranges = tool.calibrate({"serving_default": [{"x": row[np.newaxis]}]}, num_threads=1)
        for name, extremes in ranges.items():
            extremes["min"] = np.minimum(extremes["min"], row_ranges[name]["min"])
            extremes["max"] = np.maximum(extremes["max"], row_ranges[name]["max"])
    return bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)


def run_reference(model: bytes, x: FloatArray) -> FloatArray:
    """Return the probabilities (N, 10) that LiteRT's reference kernels give for x (N, 8, 8, 1)."""
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs: list[FloatArray] = []
    for row in x:
        values = row[np.newaxis]
        if source["dtype"] == np.int8:
            scale, zero_point = source["quantization"]
            values = np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], values)
        interpreter.invoke()
        output = interpreter.get_tensor(result["index"])[0]
        if result["dtype"] == np.int8:
            scale, zero_point = result["quantization"]
            output = (output.astype(np.float32) - zero_point) * np.float32(scale)
        outputs.append(output)
    return np.stack(outputs)


def accuracy(probabilities: FloatArray, y: IntArray) -> float:
    """Return the share of rows whose most probable class is y, in percent."""
    return 100.0 * float(np.mean(probabilities.argmax(axis=1) == y))


def main() -> None:
    """Train, write every file, and refuse a result that the demo could not stand on."""
    parser = argparse.ArgumentParser(description="Train the demo's digit classifier and write its files.")
    default = Path(__file__).resolve().parent.parent / "edgeq" / "demo_data"
    parser.add_argument("--output", type=Path, default=default, help="folder to write to (default: %(default)s)")
    output: Path = parser.parse_args().output
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    train_rows, valid_rows, test_rows = load_rows()
    calibration = train_rows.x[:CALIBRATION_ROWS]
    network = train(train_rows, valid_rows)
    float_model = to_tflite(network)
    int8_model = quantize(float_model, calibration)

    with torch.no_grad():
        expected: FloatArray = functional.softmax(forward(network, to_torch(test_rows.x)), dim=1).numpy()
    float_result = run_reference(float_model, test_rows.x)
    int8_result = run_reference(int8_model, test_rows.x)
    error = float(np.max(np.abs(float_result - expected)))
    float_accuracy, int8_accuracy = accuracy(float_result, test_rows.y), accuracy(int8_result, test_rows.y)
    parameters = sum(weights.size + bias.size for weights, bias in (fold_batch_norm(network, conv) for conv in CONVS))
    parameters += HEAD_CHANNELS * CLASSES + CLASSES
    print(f"parameters           {parameters}")
    print(f"float against torch  {error:.2e} largest difference in a probability")
    print(f"float accuracy       {float_accuracy:.2f} % of {len(test_rows.y)} held-out rows")
    print(f"int8 accuracy        {int8_accuracy:.2f} %")
    if error > PROBABILITY_TOLERANCE:
        raise SystemExit(
            f"float .tflite differs from torch by {error:.2e}, limit {PROBABILITY_TOLERANCE}; nothing written"
        )
    if float_accuracy < MIN_FLOAT_ACCURACY or int8_accuracy < float_accuracy - MAX_INT8_DROP:
        raise SystemExit(
            f"expected float >= {MIN_FLOAT_ACCURACY} %, int8 at most {MAX_INT8_DROP} lower; nothing written"
        )

    output.mkdir(parents=True, exist_ok=True)
    (output / "digits_float.tflite").write_bytes(float_model)
    (output / "digits_int8.tflite").write_bytes(int8_model)
    np.savez_compressed(output / "digits_calibration.npz", x=calibration)
    np.savez_compressed(output / "digits_test.npz", x=test_rows.x, y=test_rows.y)


if __name__ == "__main__":
    main()

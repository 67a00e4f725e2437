// A network: its layers in order.
#include "common/model/model.h"

#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field layer_fields[] = {
	ENUM(Layer, layer, kind, wire_layer_kinds),
	NAME(Layer, layer, name, "a layer's name"),
	SAME(Layer, layer, in_channels),
	SAME(Layer, layer, out_channels),
	SAME(Layer, layer, kernel_size),
	SAME(Layer, layer, stride),
	SAME(Layer, layer, padding),
	SAME(Layer, layer, output_size),
	SAME(Layer, layer, probability),
	{.kind = FIELD_32_BITS, PLACE(Layer, layer, initializer, initializer)}, // numbered by common/model
};
static const struct codec layer_codec = CODEC(penstock__v1__layer__descriptor, layer, layer_fields);

static const struct field model_fields[] = {
	NAME(Model, model, name, "the model's name"),
	SAME(Model, model, image_size),
	SAME(Model, model, classes),
	{COUNTED(FIELD_ROWS, Model, model, layers, layers, layer_count), .size = MODEL_MAXIMUM_LAYERS,
	 .codec = &layer_codec, .what = "the model's number of layers"},
};
const struct codec wire_model_codec = CODEC(penstock__v1__model__descriptor, model, model_fields);

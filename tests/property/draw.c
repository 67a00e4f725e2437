// See draw.h.
#include "tests/property/draw.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/random.h"
#include "common/rpc/protocol.h"

// A stream of numbers: Philox counted up, under a key that nothing else in the program uses.
struct stream {
	struct random_key key;
	uint64_t counter;
};

static uint32_t below(struct stream *s, uint32_t bound)
{
	return random_below(s->key, s->counter++, bound);
}

static uint32_t between(struct stream *s, uint32_t least, uint32_t most)
{
	return least + below(s, most - least + 1);
}

static bool chance(struct stream *s, uint32_t percent)
{
	return below(s, 100) < percent;
}

#define ONE_OF(s, ...)                                                                                                 \
	((const uint32_t[]){__VA_ARGS__}[below(s, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))])

// ---- The network

// Appends a layer; false where the model has no room or it does not fit what comes before: then it is left out.
static bool add(struct model *model, struct layer layer)
{
	if (model->layer_count == MODEL_MAXIMUM_LAYERS)
		return false;
	snprintf(layer.name, sizeof(layer.name), "layer.%u", model->layer_count);
	model->layers[model->layer_count++] = layer;
	if (model_infer_shapes(model, NULL))
		return true;
	model->layer_count--;
	return false;
}

static struct shape shape_of(const struct model *model)
{
	return model->layer_count > 0 ? model->layers[model->layer_count - 1].output
				      : (struct shape){3, model->image_size, model->image_size};
}

static void add_dropout(struct stream *s, struct model *model)
{
	if (chance(s, 20))
		add(model, (struct layer){.kind = LAYER_DROPOUT, .probability = chance(s, 50) ? 0.5f : 0.1f});
}

static void add_convolution(struct stream *s, struct model *model)
{
	uint32_t kernel = ONE_OF(s, 1, 2, 3, 3, 3, 3, 3, 5);
	// Kernels for blocks of 16 channels are others than those for odd numbers.
	uint32_t channels = ONE_OF(s, 1, 3, 5, 7, 8, 16, 16, 16, 17, 32, 32);
	add(model, (struct layer){.kind = LAYER_CONVOLUTION,
				  .in_channels = shape_of(model).channels,
				  .out_channels = channels,
				  .kernel_size = kernel,
				  .stride = chance(s, 75) ? 1 : 2,
				  .padding = below(s, kernel),
				  .initializer = ONE_OF(s, INITIALIZER_PYTORCH_DEFAULT, INITIALIZER_KAIMING_NORMAL)});
	add_dropout(s, model);
	if (chance(s, 75))
		add(model, (struct layer){.kind = LAYER_RELU});
	add_dropout(s, model);
	if (chance(s, 35))
		add(model, (struct layer){.kind = LAYER_MAX_POOL,
					  .kernel_size = between(s, 2, 3),
					  .stride = between(s, 1, 3)});
}

static void add_linear(struct stream *s, struct model *model, uint32_t features)
{
	add(model, (struct layer){.kind = LAYER_LINEAR,
				  .in_channels = shape_of(model).channels,
				  .out_channels = features,
				  .initializer = INITIALIZER_PYTORCH_DEFAULT});
}

static void draw_model(struct stream *s, struct model *model)
{
	*model = (struct model){.name = "drawn",
				.image_size =
					ONE_OF(s, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 21, 24, 27, 31, 32, 33),
				.classes = ONE_OF(s, 10, 11, 16)};
	if (chance(s, 10)) // a first layer without weights
		add(model, (struct layer){.kind = LAYER_RELU});
	for (uint32_t convolutions = between(s, 0, 5); convolutions > 0; convolutions--)
		add_convolution(s, model);
	if (chance(s, 40))
		add(model, (struct layer){.kind = LAYER_ADAPTIVE_AVERAGE_POOL, .output_size = between(s, 1, 4)});
	add_dropout(s, model);
	add(model, (struct layer){.kind = LAYER_FLATTEN});
	for (uint32_t hidden = between(s, 0, 3); hidden > 0; hidden--) {
		add_linear(s, model, ONE_OF(s, 1, 7, 16, 33, 64));
		if (chance(s, 75))
			add(model, (struct layer){.kind = LAYER_RELU});
		add_dropout(s, model);
	}
	add_linear(s, model, model->classes);
}

// ---- How it is cut, scheduled and placed

// `stages` - 1 different first layers, each as likely as any: single layers, and cuts between a convolution and its ReLU, among them.
static void draw_split(struct stream *s, struct draw *draw, uint32_t stages)
{
	bool is_first[MODEL_MAXIMUM_LAYERS] = {false};
	for (uint32_t cuts = 0; cuts < stages - 1;) {
		uint32_t layer = between(s, 1, draw->model.layer_count - 1);
		cuts += !is_first[layer];
		is_first[layer] = true;
	}
	size_t length = 0;
	for (uint32_t i = 1; i < draw->model.layer_count; i++)
		if (is_first[i])
			length += (size_t)snprintf(draw->split + length, sizeof(draw->split) - length, "%s%u",
						   length > 0 ? "," : "", i);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void draw_pipeline(struct stream *s, struct draw *draw, uint32_t daemons)
{
	struct plan_options *options = &draw->options;
	uint32_t most = chance(s, 10) ? 8 : 4; // now and then one layer a stage
	options->data_parallel_size = ONE_OF(s, 1, 1, 1, 1, 2, 3);
	options->pipeline_size = smaller(between(s, 2, most), draw->model.layer_count);
	if (options->data_parallel_size > 1 && chance(s, 25))
		options->pipeline_size = 1;
	options->split = draw->split;
	draw_split(s, draw, options->pipeline_size);
	options->schedule = chance(s, 50) ? "gpipe" : "1f1b";
	options->partition_method = "flops";
	options->micro_batch_size = ONE_OF(s, 1, 3, 8);
	options->micro_batches = ONE_OF(s, 1, 2, 5, 16);
	// With gpipe all are in flight.
	if (strcmp(options->schedule, "1f1b") == 0 && chance(s, 40))
		options->in_flight = between(s, 1, options->micro_batches);
	if (chance(s, 50))
		options->checkpoint_interval = between(s, 1, draw->model.layer_count);
	options->reduce_bucket_bytes = (uint64_t)PROTOCOL_MINIMUM_BUCKET_BYTES * ONE_OF(s, 1, 2, 16, 1024);
	// Often neighbours share a daemon, and hand tensors over there.
	for (uint32_t r = 0; r < DRAW_MAXIMUM_RANKS; r++)
		draw->daemon_of[r] = r > 0 && chance(s, 15) ? draw->daemon_of[r - 1] : r % daemons;
	draw->connections = between(s, 1, 3);
	draw->chunk_bytes = PROTOCOL_MINIMUM_CHUNK_BYTES * ONE_OF(s, 1, 3, 512);
}

// ---- The optimizer

static void draw_optimizer(struct stream *s, struct draw *draw)
{
	struct deepspeed_config *config = &draw->config;
	struct optimizer *optimizer = &draw->options.optimizer;
	optimizer_defaults(chance(s, 30) ? OPTIMIZER_SGD : (enum optimizer_kind)between(s, 0, OPTIMIZER_COUNT - 1),
			   optimizer);
	optimizer->weight_decay = chance(s, 50) ? 0.01f : 0.0f;
	config->learning_rate = optimizer->kind == OPTIMIZER_SGD ? 0.05f : 0.002f;
	config->beta1 = 0.9f;
	config->beta2 = 0.999f;
	if (optimizer->kind == OPTIMIZER_SGD) {
		config->beta1 = chance(s, 60) ? 0.9f : 0.0f;
		optimizer->no_momentum = config->beta1 == 0;
		optimizer->nesterov = config->beta1 > 0 && chance(s, 30);
		optimizer->dampening = config->beta1 > 0 && !optimizer->nesterov && chance(s, 30) ? 0.1f : 0.0f;
	}
	config->optimizer = *optimizer;
	if (chance(s, 50))
		config->gradient_clipping = chance(s, 50) ? 0.1 : 10.0;
}

void draw_make(uint64_t seed, uint32_t daemons, struct draw *ret_draw)
{
	struct draw *draw = ret_draw;
	struct stream s = {.key = random_key_make(seed, RANDOM_DATASET, random_hash_name("tests/property"))};
	*draw = (struct draw){.seed = seed};
	draw_model(&s, &draw->model);
	draw_pipeline(&s, draw, daemons);
	draw_optimizer(&s, draw);
	draw->options.seed = seed;
	draw->options.raw_image_size = 32;
	for (int c = 0; c < 3; c++) {
		draw->options.mean[c] = 0.5f;
		draw->options.standard_deviation[c] = 0.25f;
	}
	draw->steps = between(&s, 2, 3);
	draw->shuffle = chance(&s, 50);
	draw->two_threads = chance(&s, 10); // few: four daemons share the processors
	draw->config.gradient_accumulation_steps = draw->options.micro_batches;
	draw->config.micro_batch_size = draw->options.micro_batch_size;
	draw->config.train_batch_size =
		draw->options.micro_batches * draw->options.micro_batch_size * draw->options.data_parallel_size;
}

// ---- In words

static void describe_layer(const struct layer *layer, char *into, size_t size)
{
	switch (layer->kind) {
	case LAYER_CONVOLUTION:
		snprintf(into, size, "conv%ux%u", layer->out_channels, layer->kernel_size);
		if (layer->stride > 1)
			snprintf(into + strlen(into), size - strlen(into), "/%u", layer->stride);
		if (layer->padding > 0)
			snprintf(into + strlen(into), size - strlen(into), "p%u", layer->padding);
		break;
	case LAYER_LINEAR:
		snprintf(into, size, "linear%u", layer->out_channels);
		break;
	case LAYER_MAX_POOL:
		snprintf(into, size, "max%u/%u", layer->kernel_size, layer->stride);
		break;
	case LAYER_ADAPTIVE_AVERAGE_POOL:
		snprintf(into, size, "average%u", layer->output_size);
		break;
	case LAYER_DROPOUT:
		snprintf(into, size, "dropout%g", (double)layer->probability);
		break;
	case LAYER_RELU:
		snprintf(into, size, "relu");
		break;
	case LAYER_FLATTEN:
		snprintf(into, size, "flatten");
		break;
	}
}

char *draw_text(const struct draw *draw, char *into)
{
	const struct plan_options *options = &draw->options;
	size_t length = (size_t)snprintf(into, DRAW_TEXT_SIZE, "image %u:", draw->model.image_size);
	for (uint32_t i = 0; i < draw->model.layer_count && length + 32 < DRAW_TEXT_SIZE; i++) {
		char layer[32];
		describe_layer(&draw->model.layers[i], layer, sizeof(layer));
		length += (size_t)snprintf(into + length, DRAW_TEXT_SIZE - length, " %s", layer);
	}
	snprintf(
		into + length, DRAW_TEXT_SIZE - length,
		"; p %u cut at %s, d %u, %s, in flight %u, recomputation %u; %u x %u samples, %u steps; %s momentum %g "
		"clipping %g; threads %d",
		options->pipeline_size, draw->split[0] != '\0' ? draw->split : "-", options->data_parallel_size,
		options->schedule, options->in_flight, options->checkpoint_interval, options->micro_batches,
		options->micro_batch_size, draw->steps, optimizer_name(options->optimizer.kind),
		(double)draw->config.beta1, draw->config.gradient_clipping, draw->two_threads ? 2 : 1);
	return into;
}

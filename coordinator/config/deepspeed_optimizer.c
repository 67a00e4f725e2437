// "optimizer" of ds_config.json. See docs/deepspeed_config.md for the defaults and whose they are.
#include <float.h>
#include <string.h>

#include "coordinator/config/deepspeed_sections.h"

enum { TYPE_SIZE = 40 };

static const double largest = FLT_MAX;         // a setting is a float in the end
static const double below_one = 1.0 - 0x1p-24; // the largest float below 1

static void read_sgd(struct json_keys *params, struct deepspeed_config *config, double *learning_rate)
{
	double momentum = 0, dampening = 0, weight_decay = 0;
	bool nesterov = false;
	json_keys_number(params, "lr", 0, largest, learning_rate);
	bool ok = json_keys_number(params, "momentum", 0, largest, &momentum);
	ok = json_keys_number(params, "dampening", -largest, largest, &dampening) && ok;
	json_keys_number(params, "weight_decay", 0, largest, &weight_decay);
	json_keys_boolean(params, "nesterov", &nesterov);
	if (ok && nesterov && (momentum == 0 || dampening != 0))
		json_keys_mistake(params, "nesterov",
				  "%snesterov needs a momentum over 0 and a dampening of 0; they are %g and %g",
				  params->prefix, momentum, dampening);
	config->optimizer = (struct optimizer){
		.kind = OPTIMIZER_SGD,
		.weight_decay = (float)weight_decay,
		.dampening = (float)dampening,
		.nesterov = nesterov,
		.no_momentum = momentum == 0, // no schedule moves it
	};
	config->beta1 = (float)momentum;
	config->beta2 = 0;
}

static void read_adam(struct json_keys *params, enum optimizer_kind kind, struct deepspeed_config *config,
		      double *learning_rate)
{
	double betas[2] = {0.9, 0.999}, epsilon = 1e-8, weight_decay = 0;
	bool torch_adam = false, decoupled = true;
	json_keys_boolean(params, "torch_adam", &torch_adam);
	json_keys_boolean(params, "adam_w_mode", &decoupled);
	// DeepSpeed's "Adam" is AdamW unless adam_w_mode is false; its "AdamW" is AdamW in any case.
	decoupled = decoupled || kind == OPTIMIZER_ADAMW;
	if (torch_adam && decoupled)
		weight_decay = 0.01; // torch.optim.AdamW has this default, DeepSpeed's own has 0
	json_keys_number(params, "lr", 0, largest, learning_rate);
	json_keys_pair(params, "betas", 0, below_one, betas);
	json_keys_number(params, "eps", 0, largest, &epsilon);
	json_keys_number(params, "weight_decay", 0, largest, &weight_decay);
	json_keys_ignore_where(params, "bias_correction", true);
	json_keys_ignore_where(params, "amsgrad", false);
	config->optimizer = (struct optimizer){
		.kind = decoupled ? OPTIMIZER_ADAMW : OPTIMIZER_ADAM, // without decay the two are one
		.weight_decay = (float)weight_decay,
		.epsilon = (float)epsilon,
	};
	config->beta1 = (float)betas[0];
	config->beta2 = (float)betas[1];
}

// What Adam has in common with Lamb and Lion: the defaults are those of all three in DeepSpeed.
static void read_betas(struct json_keys *params, struct deepspeed_config *config)
{
	double betas[2] = {0.9, 0.999};
	json_keys_pair(params, "betas", 0, below_one, betas);
	config->beta1 = (float)betas[0];
	config->beta2 = (float)betas[1];
}

static void read_lamb(struct json_keys *params, struct deepspeed_config *config)
{
	struct optimizer *optimizer = &config->optimizer;
	double epsilon = 1e-8, weight_decay = 0, smallest = 0.01, greatest = 10;
	bool bias_correction = true;
	read_betas(params, config);
	json_keys_number(params, "eps", 0, largest, &epsilon);
	json_keys_number(params, "weight_decay", 0, largest, &weight_decay);
	bool ok = json_keys_number(params, "min_coeff", 0, largest, &smallest);
	ok = json_keys_number(params, "max_coeff", 0, largest, &greatest) && ok;
	json_keys_boolean(params, "bias_correction", &bias_correction);
	json_keys_boolean(params, "eps_inside_sqrt", &optimizer->epsilon_inside_root);
	json_keys_ignore_where(params, "amsgrad", false);
	if (ok && smallest > greatest)
		json_keys_mistake(params, "min_coeff", "%smin_coeff is %g, above max_coeff, %g", params->prefix,
				  smallest, greatest);
	optimizer->epsilon = (float)epsilon;
	optimizer->weight_decay = (float)weight_decay;
	optimizer->no_bias_correction = !bias_correction;
	optimizer->minimum_coefficient = (float)smallest;
	optimizer->maximum_coefficient = (float)greatest;
}

static void read_lion(struct json_keys *params, struct deepspeed_config *config)
{
	double weight_decay = 0;
	read_betas(params, config);
	json_keys_number(params, "weight_decay", 0, largest, &weight_decay);
	json_keys_ignore(params, "set_grad_none"); // who frees gradients is the device's affair
	config->optimizer.weight_decay = (float)weight_decay;
}

static void read_adagrad(struct json_keys *params, struct deepspeed_config *config)
{
	double epsilon = 1e-10, weight_decay = 0;
	json_keys_number(params, "eps", 0, largest, &epsilon);
	json_keys_number(params, "weight_decay", 0, largest, &weight_decay);
	json_keys_ignore_where(params, "amsgrad", false);
	config->optimizer.epsilon = (float)epsilon;
	config->optimizer.weight_decay = (float)weight_decay;
	config->beta1 = config->beta2 = 0;
}

static void read_others(struct json_keys *params, enum optimizer_kind kind, struct deepspeed_config *config,
			double *learning_rate)
{
	if (kind == OPTIMIZER_ADAGRAD)
		*learning_rate = 0.01; // the others' is 0.001
	json_keys_number(params, "lr", 0, largest, learning_rate);
	config->optimizer = (struct optimizer){.kind = kind};
	if (kind == OPTIMIZER_LAMB)
		read_lamb(params, config);
	else if (kind == OPTIMIZER_LION)
		read_lion(params, config);
	else
		read_adagrad(params, config);
}

static void read_params(struct json_keys *params, enum optimizer_kind kind, struct deepspeed_config *config,
			double *learning_rate)
{
	if (json_keys_has(params, "max_grad_norm"))
		json_keys_mistake(params, "max_grad_norm",
				  "%smax_grad_norm is not an optimizer's setting: write gradient_clipping at the top "
				  "level",
				  params->prefix);
	json_keys_ignore(params, "max_grad_norm");
	if (kind == OPTIMIZER_SGD)
		read_sgd(params, config, learning_rate);
	else if (kind == OPTIMIZER_ADAM || kind == OPTIMIZER_ADAMW)
		read_adam(params, kind, config, learning_rate);
	else
		read_others(params, kind, config, learning_rate);
	config->learning_rate = (float)*learning_rate;
}

static bool read_type(struct json_keys *section, enum optimizer_kind *ret_kind)
{
	char type[TYPE_SIZE] = "";
	if (!json_keys_string(section, "type", type, sizeof(type)))
		return false;
	if (type[0] == '\0')
		return json_keys_mistake(section, "type", "optimizer.type is missing; known: %s", optimizer_names());
	return optimizer_parse(type, ret_kind) ||
	       json_keys_mistake(section, "type", "optimizer.type \"%s\" is unknown; known: %s", type,
				 optimizer_names());
}

void deepspeed_optimizer_read(struct json_keys *top, struct deepspeed_config *config, double *learning_rate)
{
	struct json_keys section, params;
	enum optimizer_kind kind = OPTIMIZER_SGD;
	bool is_known = json_keys_open(&section, top, "optimizer") && read_type(&section, &kind);
	json_keys_open(&params, &section, "params");
	if (is_known) {
		read_params(&params, kind, config, learning_rate);
		json_keys_list_unknown(&section, config->unknown_keys, sizeof(config->unknown_keys));
		json_keys_list_unknown(&params, config->unknown_keys, sizeof(config->unknown_keys));
	}
	json_keys_fini(&params);
	json_keys_fini(&section);
}

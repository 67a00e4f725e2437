// "optimizer" of ds_config.json. See docs/deepspeed_config.md for the defaults and whose they are.
#include <float.h>
#include <string.h>

#include "coordinator/config/deepspeed_sections.h"

enum { TYPE_SIZE = 40 };

static const double largest = FLT_MAX;         // a setting is a float in the end
static const double below_one = 1.0 - 0x1p-24; // the largest float below 1

static bool read_sgd(struct json_keys *params, struct deepspeed_config *config, double *learning_rate,
		     struct error *error)
{
	double momentum = 0, dampening = 0, weight_decay = 0;
	bool nesterov = false;
	if (!json_keys_number(params, "lr", 0, largest, learning_rate, error) ||
	    !json_keys_number(params, "momentum", 0, largest, &momentum, error) ||
	    !json_keys_number(params, "dampening", -largest, largest, &dampening, error) ||
	    !json_keys_number(params, "weight_decay", 0, largest, &weight_decay, error) ||
	    !json_keys_boolean(params, "nesterov", &nesterov, error))
		return false;
	if (nesterov && (momentum == 0 || dampening != 0))
		return error_set(error, ERROR_USAGE,
				 "%s: %snesterov needs a momentum over 0 and a dampening of 0; they are %g and %g",
				 params->path, params->prefix, momentum, dampening);
	config->optimizer = (struct optimizer){
		.kind = OPTIMIZER_SGD,
		.weight_decay = (float)weight_decay,
		.dampening = (float)dampening,
		.nesterov = nesterov,
	};
	config->beta1 = (float)momentum;
	config->beta2 = 0;
	return true;
}

static bool read_adam(struct json_keys *params, enum optimizer_kind kind, struct deepspeed_config *config,
		      double *learning_rate, struct error *error)
{
	double betas[2] = {0.9, 0.999}, epsilon = 1e-8, weight_decay = 0;
	bool torch_adam = false, decoupled = true;
	if (!json_keys_boolean(params, "torch_adam", &torch_adam, error) ||
	    !json_keys_boolean(params, "adam_w_mode", &decoupled, error))
		return false;
	// DeepSpeed's "Adam" is AdamW unless adam_w_mode is false; its "AdamW" is AdamW in any case.
	decoupled = decoupled || kind == OPTIMIZER_ADAMW;
	if (torch_adam && decoupled)
		weight_decay = 0.01; // torch.optim.AdamW has this default, DeepSpeed's own has 0
	if (!json_keys_number(params, "lr", 0, largest, learning_rate, error) ||
	    !json_keys_pair(params, "betas", 0, below_one, betas, error) ||
	    !json_keys_number(params, "eps", 0, largest, &epsilon, error) ||
	    !json_keys_number(params, "weight_decay", 0, largest, &weight_decay, error))
		return false;
	json_keys_ignore_where(params, "bias_correction", true);
	json_keys_ignore_where(params, "amsgrad", false);
	config->optimizer = (struct optimizer){
		.kind = decoupled ? OPTIMIZER_ADAMW : OPTIMIZER_ADAM, // without decay the two are one
		.weight_decay = (float)weight_decay,
		.epsilon = (float)epsilon,
	};
	config->beta1 = (float)betas[0];
	config->beta2 = (float)betas[1];
	return true;
}

static bool read_params(struct json_keys *params, enum optimizer_kind kind, struct deepspeed_config *config,
			double *learning_rate, struct error *error)
{
	if (json_keys_has(params, "max_grad_norm"))
		return error_set(
			error, ERROR_USAGE,
			"%s: %smax_grad_norm is not an optimizer's setting: write gradient_clipping at the top "
			"level",
			params->path, params->prefix);
	bool ok = kind == OPTIMIZER_SGD ? read_sgd(params, config, learning_rate, error)
					: read_adam(params, kind, config, learning_rate, error);
	if (ok)
		config->learning_rate = (float)*learning_rate;
	return ok;
}

static bool read_section(struct json_keys *section, struct deepspeed_config *config, double *learning_rate,
			 struct error *error)
{
	char type[TYPE_SIZE] = "";
	const json_t *object = NULL;
	enum optimizer_kind kind;
	if (!json_keys_string(section, "type", type, sizeof(type), error) ||
	    !json_keys_object(section, "params", &object, error))
		return false;
	if (type[0] == '\0')
		return error_set(error, ERROR_USAGE, "%s: optimizer.type is missing: write SGD, Adam or AdamW",
				 section->path);
	if (!optimizer_parse(type, &kind))
		return error_set(error, ERROR_USAGE,
				 "%s: optimizer.type \"%s\" is unknown; there are SGD, Adam and AdamW", section->path,
				 type);
	struct json_keys params;
	bool ok = json_keys_init(&params, section->path, "optimizer.params.", object, error) &&
		  read_params(&params, kind, config, learning_rate, error);
	if (ok) {
		json_keys_list_unknown(section, config->unknown_keys, sizeof(config->unknown_keys));
		json_keys_list_unknown(&params, config->unknown_keys, sizeof(config->unknown_keys));
	}
	json_keys_fini(&params);
	return ok;
}

bool deepspeed_optimizer_read(struct json_keys *top, struct deepspeed_config *config, double *learning_rate,
			      struct error *error)
{
	const json_t *object = NULL;
	if (!json_keys_object(top, "optimizer", &object, error))
		return false;
	if (object == NULL)
		return true;
	struct json_keys section;
	bool ok = json_keys_init(&section, top->path, "optimizer.", object, error) &&
		  read_section(&section, config, learning_rate, error);
	json_keys_fini(&section);
	return ok;
}

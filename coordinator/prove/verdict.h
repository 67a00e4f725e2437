// What `penstock prove` says: to people on stdout, and to programs as JSON lines. docs/prove.md lists their members. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/plan/plan.h"
#include "coordinator/prove/against.h"
#include "coordinator/prove/compare.h"

// Both trainings. Rank r of the reference runs where rank r of the pipeline does.
struct proof {
	const struct plan *reference, *pipeline;
	const char *const *addresses; // [ranks of the pipeline]
	uint64_t steps;
	const char *against_path; // NULL: no file
};

// What came of them.
struct verdict {
	const struct proof *proof;
	const struct capture *reference, *pipeline;
	const struct comparison *comparison;
	const struct against *against; // NULL: no file
};

// Whether the boundaries round what crosses them, so that other bits are to be expected.
bool proof_rounds_boundaries(const struct proof *proof);

void verdict_print_proof(const struct proof *proof, FILE *out); // before the trainings
void verdict_print(const struct verdict *verdict, FILE *out);

// Each writes whole lines; false with ERROR_FAILED when one cannot be written.
bool verdict_write_proof(const struct proof *proof, FILE *json, struct error *error);
bool verdict_write(const struct verdict *verdict, FILE *json, struct error *error);

enum { VERDICT_ELEMENT_SIZE = PARAMETER_NAME_SIZE + 64 };
// "features.0.weight[3, 0, 2, 1]"; returns `into`, of VERDICT_ELEMENT_SIZE.
char *verdict_element(const struct model *model, uint32_t parameter, uint64_t element, char *into);
const char *difference_name(enum difference_kind kind); // "loss", "gradient", ...: for programs

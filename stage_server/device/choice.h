// Which of several kernels computes a pass of a layer. Kernels sum in different orders, so the choice changes the last bits.
// So a device does not choose. A program lists its questions, with keys that depend on the layer alone, and the coordinator
// answers them for the whole job (executor/kernels.c).
//
// Threads: the program's own.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { CHOICE_MAXIMUM_CANDIDATES = 8, CHOICE_TEXT_SIZE = 160 };

// One question. Texts are printable and have no white space.
struct choice {
	uint32_t layer;             // of the model
	char key[CHOICE_TEXT_SIZE]; // operation, pass, type and shape; nothing of the stage
	// The kernels that there are, once the program is planned. Always the same for a key on machines of one name
	// (device_info.machine); where an answer was known before, the device may offer that one alone.
	uint32_t count;
	char names[CHOICE_MAXIMUM_CANDIDATES][CHOICE_TEXT_SIZE];
	// Runs a candidate once, in the memory of the program that waits in program_allocate; false: it cannot be used. Called a
	// few times each, so a run must be short.
	bool (*run)(void *context, uint32_t candidate);
	void *context;
	char answer[CHOICE_TEXT_SIZE]; // a name; "": not known
};

// Who answers. Both return false with an error that ends the program; ERROR_CANCELLED when stopped.
struct chooser {
	// Before the program is planned: sets the answers that are known. Once, also without any question.
	bool (*recall)(void *user, struct choice *choices, uint32_t count, struct error *error);
	// In program_allocate: each choice gets an answer, one of its names. Not called where nothing is open.
	bool (*settle)(void *user, struct choice *const *open, uint32_t count, struct error *error);
	void *user;
};

// A program's questions.
struct choices {
	struct choice *all; // owned, [capacity]: does not move
	uint32_t count, capacity;
};

bool choices_init(struct choices *choices, uint32_t capacity, struct error *error);
void choices_fini(struct choices *choices);
// Below the capacity. Borrowed until choices_fini.
struct choice *choices_add(struct choices *choices, uint32_t layer, const char *key);
// `chooser` NULL: the first candidates are used.
bool choices_recall(struct choices *choices, const struct chooser *chooser, struct error *error);
bool choices_settle(struct choices *choices, const struct chooser *chooser, struct error *error);

uint32_t choice_find(const struct choice *choice, const char *name); // choice->count: no such candidate
// After choices_settle: the candidate that is used; 0 where `choice` is NULL.
uint32_t choice_index(const struct choice *choice);

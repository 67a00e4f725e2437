// Errors of the control path: a stable code, and a message for people that is wrapped from the inside out: "start stage 1
// on node-b: load classifier.6.weight: shape is ...".
// Whoever knows the cause writes the message; whoever stands at the boundary (main, an RPC handler) logs it, once.
// Any thread; an error belongs to its holder.
#pragma once

#include <stdbool.h>

enum error_code {
	ERROR_NONE = 0,
	ERROR_FAILED = 1,        // anything that has no closer code
	ERROR_USAGE = 2,         // what the user, or a client, asked for makes no sense
	ERROR_OUT_OF_MEMORY = 3, // the plan does not fit the device
	ERROR_UNREACHABLE = 4,   // a node cannot be reached, or was lost
	ERROR_PROTOCOL = 5,      // a peer broke the wire contract
	ERROR_VERSION = 6,       // a peer speaks another version of the protocol
	ERROR_LIMIT = 7,         // a limit of the daemon is reached; later may be better
	ERROR_CANCELLED = 8,     // ended on request: SIGINT, Close, a coordinator that went away
	ERROR_DIVERGED = 9,      // of a training: its loss, gradients or parameters are not finite
};

enum { ERROR_MESSAGE_SIZE = 1024 };

struct error {
	enum error_code code;
	char message[ERROR_MESSAGE_SIZE];
};

// Fills `error` (may be NULL). Always returns false, so that a function can `return error_set(...)`.
bool error_set(struct error *error, enum error_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// Puts "context: " before the message. Always returns false.
bool error_wrap(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__ // which sees one file at a time, and would follow a failed check as if it had passed
#define error_set(...)  (error_set(__VA_ARGS__), false)
#define error_wrap(...) (error_wrap(__VA_ARGS__), false)
#endif

// "out of memory", "unreachable", ...: for logs and metrics labels ([a-z_]).
const char *error_code_name(enum error_code code);

// The exit code that docs promise: 0 done, 1 failed, 2 wrong usage, 3 out of memory, 4 node lost or not reached.
int error_exit_code(const struct error *error);

// penstock dataset synthesize
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/command/command.h"
#include "coordinator/dataset/synthesize.h"

enum { MAXIMUM_IMAGES = 1000000 };

struct arguments {
	uint32_t images;
	uint64_t seed;
};

static const struct option_row rows[] = {
	{"images", "N", OPTION_COUNT, offsetof(struct arguments, images), 10, MAXIMUM_IMAGES, .preset = "2000",
	 .help = "images in each file; CIFAR-10 has 10000"},
	{"seed", "N", OPTION_LONG, offsetof(struct arguments, seed), 0, INT64_MAX, .preset = "1",
	 .help = "another set"},
};

static const struct option_table table = {
	.program = "penstock dataset",
	.rows = rows,
	.count = sizeof(rows) / sizeof(rows[0]),
	.introduction = "Usage: penstock dataset synthesize DIR [--images N] [--seed N]\n"
			"Draws a small learnable set of 10 classes in CIFAR-10's binary file format:\n"
			"data_batch_1.bin to data_batch_5.bin and test_batch.bin.\n"
			"\n",
	.version = COMMAND_VERSION,
};

int command_dataset(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct error error;
	int code, first;
	if (!command_goes_on(options_parse(&table, argc, argv, &arguments, &first, &error), &error, &code))
		return code;
	if (argc - first != 2 || argv[first + 1][0] == '\0' || strcmp(argv[first], "synthesize") != 0) {
		error_set(&error, ERROR_USAGE, "expected: penstock dataset synthesize DIR");
		return command_fail(&error);
	}
	const char *folder = argv[first + 1];
	if (!synthesize_cifar10(folder, arguments.images, arguments.seed, &error))
		return command_fail(&error);
	printf("%s: 5 files of %u image%s to train on, 1 to test\n", folder, arguments.images,
	       strings_plural(arguments.images));
	return 0;
}

// coordinator/dataset/image: what decodes has the dimensions that its header tells, and fits a square of any size. Refused is what has
// more pixels than the limit; here it is lower, so that a target's run does not go by in large images. The first byte is the square's size.
#include "coordinator/dataset/image.h"
#include "tests/fuzz/fuzz.h"

enum { PIXELS = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t planes[3 * 64 * 64];
	struct image image;
	struct error error = {0};
	uint32_t width, height;
	if (size == 0)
		return 0;
	uint32_t side = data[0] % 64 + 1;
	if (!image_dimensions(data + 1, size - 1, &width, &height, &error)) {
		DEMAND(error.code == ERROR_USAGE && error.message[0] != '\0');
		return 0;
	}
	DEMAND(width >= 1 && height >= 1 && (uint64_t)width * height <= IMAGE_MAXIMUM_PIXELS);
	if ((uint64_t)width * height > PIXELS)
		return 0;
	if (!image_decode(data + 1, size - 1, &image, &error)) {
		DEMAND(error.code == ERROR_USAGE && error.message[0] != '\0');
		return 0;
	}
	DEMAND(image.width == width && image.height == height);
	DEMAND(image_fit(&image, side, planes, &error));
	image_fini(&image);
	return 0;
}

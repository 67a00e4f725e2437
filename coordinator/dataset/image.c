// Which format an image has, and the limits of both. See image.h.
#include "coordinator/dataset/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/dataset/image_formats.h"

bool image_check_dimensions(uint64_t width, uint64_t height, struct error *error)
{
	if (width == 0 || height == 0)
		return error_set(error, ERROR_USAGE, "has no pixels");
	if (width > IMAGE_MAXIMUM_SIDE || height > IMAGE_MAXIMUM_SIDE || width * height > IMAGE_MAXIMUM_PIXELS)
		return error_set(error, ERROR_USAGE,
				 "is %" PRIu64 " x %" PRIu64 "; the maximum is %d on a side and %d million pixels",
				 width, height, IMAGE_MAXIMUM_SIDE, (int)(IMAGE_MAXIMUM_PIXELS / 1000000));
	return true;
}

static bool read_any(const uint8_t *bytes, size_t size, bool header_only, struct image *ret_image, struct error *error)
{
	static const uint8_t jpeg[] = {0xff, 0xd8, 0xff}, png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	if (size == 0)
		return error_set(error, ERROR_USAGE, "is empty");
	if (size >= sizeof(jpeg) && memcmp(bytes, jpeg, sizeof(jpeg)) == 0)
		return image_read_jpeg(bytes, size, header_only, ret_image, error);
	if (size >= sizeof(png) && memcmp(bytes, png, sizeof(png)) == 0)
		return image_read_png(bytes, size, header_only, ret_image, error);
	return error_set(error, ERROR_USAGE, "is neither JPEG nor PNG");
}

bool image_dimensions(const uint8_t *bytes, size_t size, uint32_t *ret_width, uint32_t *ret_height, struct error *error)
{
	struct image image = {0};
	if (!read_any(bytes, size, true, &image, error))
		return false;
	*ret_width = image.width;
	*ret_height = image.height;
	return true;
}

bool image_decode(const uint8_t *bytes, size_t size, struct image *ret_image, struct error *error)
{
	return read_any(bytes, size, false, ret_image, error);
}

void image_fini(struct image *image)
{
	free(image->pixels);
	*image = (struct image){0};
}

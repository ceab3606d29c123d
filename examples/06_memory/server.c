/* Counts bytes, and measures: what it is given and what it gives lies in the image's memory. */
#include <matchmaker/server.h>

MM_TYPE(struct extent { double low, high; };)
MM_TYPE(struct cloud {
  size_t count;
  double *values;
  struct extent extent;
};)

MM_EXPORT(void, histogram, (const unsigned char *bytes, size_t count, unsigned *counts),
          "adds to counts[256] how often each byte occurs")
void histogram(const unsigned char *bytes, size_t count, unsigned *counts) {
  for (size_t i = 0; i < count; i++) counts[bytes[i]]++;
}

MM_EXPORT(const struct extent *, measure, (struct cloud * cloud), "sets the extent")
const struct extent *measure(struct cloud *cloud) {
  struct extent extent = {0, 0};
  for (size_t i = 0; i < cloud->count; i++) {
    double value = cloud->values[i];
    if (i == 0 || value < extent.low) extent.low = value;
    if (i == 0 || value > extent.high) extent.high = value;
  }
  cloud->extent = extent;
  return &cloud->extent;
}

int main(void) { return mm_snapshot(NULL); }

// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// See play.h. What is due is computed from the twin's own lists.

#include "play.h"

#include <string.h>

#define PLAYERS 6
#define TOPICS	4

static void publishes(
	struct twin *twin, struct random *rng, unsigned who, unsigned topic, uint32_t *number)
{
	char filter[3] = {'t', (char)('0' + topic), 0};
	uint8_t qos = (uint8_t)random_below(rng, 3);
	bool due[PLAYERS] = {false};

	for (unsigned i = 0; i < PLAYERS; i++)
		for (unsigned s = 0; s < twin->legs[i].subscriptions_count; s++)
			due[i] |= strcmp(twin->legs[i].subscriptions[s].filter, filter) == 0 &&
				  twin->legs[who].may_write[topic] && twin->legs[i].may_read[topic];
	for (unsigned n = 0; n < 6; n++) {
		twin_publish(twin, who, filter[1], qos, *number);
		twin_wait(twin, random_below(rng, 20) * US_IN_MS);
		for (unsigned i = 0; i < PLAYERS; i++) {
			assert_int_equal(twin_got(twin, i, *number), due[i]);
			twin->legs[i].got_count = 0;
		}
		(*number)++;
	}
}

static void comes_back(struct twin *twin, struct random *rng, unsigned who, unsigned topic)
{
	char id[] = {'c', (char)('0' + who), 0};

	bed_close(twin_bed(twin, who), who);
	twin_connect(twin, who, random_below(rng, 2), id);
	twin->legs[who].may_read[topic] = random_below(rng, 2);
	twin->legs[who].may_write[topic] = random_below(rng, 2);
}

static void step(struct twin *twin, struct random *rng, uint32_t *number)
{
	unsigned who = random_below(rng, PLAYERS), topic = random_below(rng, TOPICS);
	char filter[3] = {'t', (char)('0' + topic), 0};
	struct twin_leg *leg = &twin->legs[who];

	switch (random_below(rng, 40)) {
	case 0:
		if (leg->subscriptions_count < TWIN_SUBSCRIPTIONS - 1)
			twin_subscribe(twin, who, filter, (uint8_t)random_below(rng, 3));
		break;
	case 1:
		twin_unsubscribe(twin, who, filter);
		break;
	case 2:
		leg->may_write[topic] ^= true;
		twin_revoke(twin);
		break;
	case 3:
		leg->may_read[topic] ^= true;
		twin_revoke(twin);
		break;
	case 4:
		twin_stream_down(twin);
		break;
	case 5:
		twin_stream_up(twin);
		break;
	case 6:
		comes_back(twin, rng, who, topic);
		break;
	case 7:
		twin_wait(twin, random_below(rng, 60) * US_IN_S);
		break;
	default:
		publishes(twin, rng, who, topic, number);
		break;
	}
}

uint32_t play(struct twin *twin, uint64_t seed, unsigned steps)
{
	struct random rng;
	uint32_t number = 1;

	random_init(&rng, seed);
	for (unsigned i = 0; i < PLAYERS; i++) {
		char id[] = {'c', (char)('0' + i), 0};

		twin_connect(twin, i, random_below(&rng, 2), id);
	}
	for (unsigned n = 0; n < steps; n++)
		step(twin, &rng, &number);
	return number;
}

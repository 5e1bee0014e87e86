import { stripeError } from './stripe-errors.ts';

/** Filters of `GET /v1/events`. `from` is included, `to` is not, both in epoch seconds. */
type ListQuery = {
  from: number;
  to: number;
  isWanted: (type: string) => boolean;
  limit: number;
  startingAfter: string | undefined;
  endingBefore: string | undefined;
};

/** Each bound of `created` as the seconds that it includes. */
const bounds: Record<string, (second: number) => { from?: number; to?: number }> = {
  created: (second) => ({ from: second, to: second + 1 }),
  'created[gt]': (second) => ({ from: second + 1 }),
  'created[gte]': (second) => ({ from: second }),
  'created[lt]': (second) => ({ to: second }),
  'created[lte]': (second) => ({ to: second + 1 }),
};
const otherParams = ['type', 'types', 'limit', 'starting_after', 'ending_before'];

const maxTypes = 20;
const maxLimit = 100;

/**
 * Parses the query of a list of events. `delivery_success` and `expand` are not simulated.
 * Errors (400): an unknown parameter, a value out of range, parameters that exclude each other.
 */
export function parseListQuery(search: URLSearchParams): ListQuery {
  // Stripe takes `types[]=a` and `types[0]=a`.
  const params = [...search].map(
    ([name, value]) => [name.replace(/^types\[\d*\]$/, 'types'), value] as const,
  );
  const valuesOf = (name: string) => params.filter(([it]) => it === name).map(([, value]) => value);
  for (const [name] of params) {
    if (name in bounds || otherParams.includes(name)) continue;
    throw invalid('parameter_unknown', name, `Received unknown parameter: ${name}`);
  }
  const [type] = valuesOf('type');
  const types = valuesOf('types');
  const [startingAfter] = valuesOf('starting_after');
  const [endingBefore] = valuesOf('ending_before');
  if (type !== undefined && types.length > 0) throw exclusive('type', 'types');
  if (startingAfter !== undefined && endingBefore !== undefined)
    throw exclusive('starting_after', 'ending_before');
  if (types.length > maxTypes) {
    throw invalid('array_too_long', 'types', `Array is too long: at most ${maxTypes} types are allowed.`);
  }

  const range = { from: 0, to: Number.POSITIVE_INFINITY };
  for (const [name, value] of params) {
    const { from = range.from, to = range.to } = bounds[name]?.(integer(name, value)) ?? {};
    range.from = Math.max(range.from, from);
    range.to = Math.min(range.to, to);
  }
  return {
    ...range,
    isWanted: wantedTypes(type, types),
    limit: limitOf(valuesOf('limit')[0]),
    startingAfter,
    endingBefore,
  };
}

/** `type` may end in a wildcard, as in `charge.*`; `types` may not. */
function wantedTypes(type: string | undefined, types: string[]): (type: string) => boolean {
  if (type?.endsWith('*')) return (it) => it.startsWith(type.slice(0, -1));
  const wanted = new Set(type === undefined ? types : [type]);
  return (it) => wanted.size === 0 || wanted.has(it);
}

function limitOf(value = '10'): number {
  const limit = integer('limit', value);
  if (limit >= 1 && limit <= maxLimit) return limit;
  throw invalid(
    'parameter_invalid_integer',
    'limit',
    `This value must be from 1 to ${maxLimit}, not ${limit}.`,
  );
}

function integer(param: string, value: string): number {
  if (/^-?\d{1,15}$/.test(value)) return Number(value);
  throw invalid('parameter_invalid_integer', param, `Invalid integer: ${value}`);
}

function exclusive(one: string, other: string) {
  return invalid(
    'parameters_exclusive',
    one,
    `You may only specify one of these parameters: ${one}, ${other}.`,
  );
}

function invalid(code: string, param: string, message: string) {
  return stripeError({ status: 400, code, message, param });
}

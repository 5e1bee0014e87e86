import { apiError, reported } from './google-errors.ts';

/** The fields to keep of an object, and of the objects in them; `all` keeps everything. */
type Selection = Map<string, Selection> | 'all';

/** A partial response: the fields that the query parameter `fields` selects, such as `etag,items(id,start/date)`. */
export function selectFields(value: unknown, fields: string | null | undefined): unknown {
  return fields ? pick(value, parseFields(fields)) : value;
}

function pick(value: unknown, selection: Selection): unknown {
  if (selection === 'all' || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => pick(item, selection));
  const wildcard = selection.get('*');
  const selected = Object.entries(value).flatMap(([name, field]) => {
    const selected = selection.get(name) ?? wildcard;
    return selected ? [[name, pick(field, selected)]] : [];
  });
  return Object.fromEntries(selected);
}

/** Throws 400 for an invalid selection. */
function parseFields(text: string): Selection {
  const tokens = text.match(/[\w*-]+|[(),/]|./g) ?? [];
  let at = 0;
  const invalid = () => apiError(reported.invalid(`Invalid field selection ${text}`));

  const parseList = (): Selection => {
    const selection = new Map<string, Selection>();
    for (;;) {
      const [name, inner] = parsePath();
      selection.set(name, merge(selection.get(name), inner));
      if (tokens[at] !== ',') return selection;
      at += 1;
    }
  };
  const parsePath = (): [string, Selection] => {
    const name = tokens[at] ?? '';
    if (!/^[\w*-]+$/.test(name)) throw invalid();
    at += 1;
    if (tokens[at] === '/') {
      at += 1;
      return [name, new Map([parsePath()])];
    }
    if (tokens[at] !== '(') return [name, 'all'];
    at += 1;
    const inner = parseList();
    if (tokens[at] !== ')') throw invalid();
    at += 1;
    return [name, inner];
  };

  const selection = parseList();
  if (at < tokens.length) throw invalid();
  return selection;
}

function merge(one: Selection | undefined, other: Selection): Selection {
  if (one === undefined) return other;
  if (one === 'all' || other === 'all') return 'all';
  const merged = new Map(one);
  for (const [name, inner] of other) merged.set(name, merge(merged.get(name), inner));
  return merged;
}

/** What `doctor` found out about one thing that a server needs. */
export interface Finding {
  readonly check: string
  readonly ok: boolean
  readonly detail: string
  /** What to do about it. */
  readonly remedy?: string
}

export function good(check: string, detail: string): Finding {
  return { check, ok: true, detail }
}

export function bad(check: string, detail: string, remedy: string): Finding {
  return { check, ok: false, detail, remedy }
}

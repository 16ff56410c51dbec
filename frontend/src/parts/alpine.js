// Small behaviours inside a page, named in the markup by x-data.
import Alpine from '@alpinejs/csp'

// A button that copies a text and says so for a moment.
Alpine.data('copying', () => ({
  isDone: false,
  get label() { return this.isDone ? this.$root.dataset.done : this.$root.dataset.word },
  copy() {
    const text = this.$root.dataset.text ?? this.$root.querySelector('[data-copied]').textContent
    const done = () => {
      this.isDone = true
      setTimeout(() => { this.isDone = false }, 2000)
    }
    if (navigator.clipboard) return navigator.clipboard.writeText(text).then(done)
    // Without https there is no clipboard: select the text so that the person can copy it.
    const shown = this.$root.querySelector('[data-copied]')
    if (shown) getSelection().selectAllChildren(shown)
  },
}))

// The choice between the location's cards and a tag that is typed.
Alpine.data('choosing', () => ({
  card: '',
  init() {
    const chosen = this.$root.querySelector('input[type=radio]:checked')
    this.card = chosen ? chosen.value : 'typed'
  },
  choose(event) { this.card = event.target.value },
  get isKnown() { return this.card !== 'typed' },
}))

// A table whose rows can be chosen, one by one or all at once.
Alpine.data('picking', () => ({
  pick(event) {
    const each = [...this.$root.querySelectorAll('input[name=charger]')]
    const all = this.$root.querySelector('[data-all]')
    if (event.target === all) for (const box of each) box.checked = all.checked
    const chosen = each.filter((box) => box.checked).length
    all.checked = chosen === each.length
    all.indeterminate = chosen > 0 && chosen < each.length
  },
}))

// The theme, shown at once and kept in the account.
Alpine.data('theming', () => ({
  async choose(event) {
    const theme = event.target.value
    const root = document.documentElement
    if (theme === 'auto') root.removeAttribute('data-bs-theme')
    else root.setAttribute('data-bs-theme', theme)
    document.dispatchEvent(new Event('voltyard:theme'))
    const body = new URLSearchParams({ theme })
    await fetch('/account/theme', { method: 'POST', body, headers: { 'X-Quiet': '1' } }).catch(() => {})
  },
}))

// A menu that closes when one looks elsewhere.
Alpine.data('menu', () => ({
  isOpen: false,
  get isClosed() { return !this.isOpen },
  toggle() { this.isOpen = !this.isOpen },
  close() { this.isOpen = false },
  leave() {
    if (!this.isOpen) return
    this.isOpen = false
    this.$root.querySelector('button').focus()
  },
}))

// Carries what the scripts of tables ask to the kernel, and its answers to them.
export default {
  initialize({ model }) {
    const asked = new Map();
    const ask = (event) => {
      const { table, target, show } = event.detail;
      event.preventDefault();  // somebody listens
      asked.set(target, show);
      model.send({ table, target });
    };
    model.on("msg:custom", ({ target, ...found }) => {
      asked.get(target)?.(found);
      asked.delete(target);
    });
    document.addEventListener("raymemprof-opens", ask);
    return () => document.removeEventListener("raymemprof-opens", ask);
  },
};
